"""What a page shows of one run."""

from pathlib import Path

from fre_lightning.report.sections import describe_run
from fre_lightning.results.stored_run import ScoredImage, StoredRun

METRICS = {
    "model": "m",
    "layers": "l1+l2",
    "weights": "w",
    "image_size": [32, 48],
    "reducer": "pca",
    "n_components": 7,
    "scoring": "topk",
    "n_train": 9,
    "n_test": 5,
    "image_auroc": 0.91234,
    "image_auroc_low": 0.85,
    "image_auroc_high": 0.951,
    "pixel_auroc": 0.8,
    "pixel_metrics_size": [32, 48],
    "threshold": 2.0,
}
SCORES = [(0, 1.0), (0, 2.0), (0, 3.0), (1, 2.5), (1, 1.5)]


def make_run(folder=Path("run"), **changes):
    images = [ScoredImage(f"{i}.png", label, "dent", s) for i, (label, s) in enumerate(SCORES)]
    metrics = {key: value for key, value in (METRICS | changes).items() if value is not None}
    return StoredRun(folder, "part", {}, metrics, images)


def tiles(run):
    section = describe_run(run, "name", Path(), 1)
    return {
        title: (value.replace("\N{NO-BREAK SPACE}", " "), note)
        for title, value, note in section["tiles"]
    }


def test_headline_numbers():
    shown = tiles(make_run())
    assert list(shown) == ["Image AUROC", "Pixel AUROC", "Defects found", "False alarms"]
    assert shown["Image AUROC"] == ("0.912", "95 % interval 0.850 to 0.951")
    assert shown["Pixel AUROC"][0] == "0.800"
    # A score at the threshold lies not above it.
    assert shown["Defects found"] == ("50.0 %", "1 of 2 images above 2")
    assert shown["False alarms"] == ("33.3 %", "1 of 3 images above 2")


def test_numbers_that_are_missing_are_left_out():
    assert tiles(make_run(image_auroc_low=None))["Image AUROC"] == ("0.912", "")
    left = tiles(make_run(threshold=None, image_auroc=None))
    assert list(left) == ["Pixel AUROC"]
    failed = describe_run(StoredRun(Path("x"), "part", {}, error="no"), "name", Path(), 1)
    assert (failed["about"], failed["tiles"], failed["charts"]) == ("", [], [])


def test_a_line_says_what_was_run():
    about = describe_run(make_run(), "name", Path(), 1)["about"]
    for words in ("m l1+l2 (w) at 32", "pca with 7 components", "on 9 good", "on 5 images"):
        assert words in about


def test_a_run_among_several_is_linked_to_its_own_report(tmp_path):
    folder = tmp_path / "sweep/0 a%"
    folder.mkdir(parents=True)
    run = make_run(folder)
    assert describe_run(run, "name", tmp_path, 2)["link"] == ""
    (folder / "report.html").touch()
    assert describe_run(run, "name", tmp_path, 2)["link"] == "sweep/0%20a%25/report.html"
    assert describe_run(run, "name", tmp_path, 1)["link"] == ""
