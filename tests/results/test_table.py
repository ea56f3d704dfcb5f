from pathlib import Path

from fre_lightning.results.stored_run import StoredRun
from fre_lightning.results.table import ResultsTable


def make_run(category="a", folder="0", settings=None, error=None, **metrics):
    settings = {"model": "m", "reducer": "pca"} | (settings or {})
    return StoredRun(Path(folder), category, settings, metrics, error=error)


def test_a_variant_is_what_runs_differ_in():
    runs = [
        make_run("a", settings={"dataset.root": "/x", "seed": "0"}),
        make_run("a", settings={"reducer": "tae", "dataset.root": "/y", "seed": "0"}),
        make_run("b", settings={"reducer": "tae", "model.weights": "/far/away.pth"}),
    ]
    assert ResultsTable(runs).variants == ["pca seed=0", "tae seed=0", "tae model.weights=away.pth"]
    assert ResultsTable(runs[:1]).variants == [""]


def test_runs_that_cannot_be_told_apart_are_named_by_folder():
    runs = [make_run(folder="x/first"), make_run(folder="x/second"), make_run("b")]
    assert ResultsTable(runs).variants == ["first", "second", ""]


def test_means_are_over_the_categories_that_have_a_value():
    runs = [
        make_run("bottle", image_auroc=0.9),
        make_run("cable", image_auroc=0.7, pixel_aupro=0.5),
        make_run("bottle", settings={"reducer": "tae"}, image_auroc=0.8),
        make_run("cable", settings={"reducer": "tae"}, error="DatasetError: no folder"),
    ]
    table = ResultsTable(runs)
    assert table.categories == ["bottle", "cable"]
    assert table.metrics == ["image_auroc", "pixel_aupro"]
    assert table.mean("pca", "image_auroc") == ((0.9 + 0.7) / 2, 2)
    assert table.mean("tae", "image_auroc") == (0.8, 1)
    assert table.mean("pca", "pixel_aupro") == (0.5, 1)
    assert table.mean("tae", "pixel_aupro") is None
    assert table.notes == ["cable tae failed: DatasetError: no folder"]


def test_random_weights_are_noted():
    table = ResultsTable([make_run(image_auroc=0.5, weights="random (seed 0)")])
    assert "random" in table.notes[0]
