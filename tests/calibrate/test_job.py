"""Later good parts, through the command and the functions behind it."""

import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

import fre_lightning
from fre_lightning.calibrate.job import run
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError, DatasetError, UnreadableImageError
from fre_lightning.experiment import run as fit
from fre_lightning.fitted import state_digest
from tests.conftest import draw_regions

N_GOOD, N_DEFECTIVE = 12, 6  # of the fixture `later`


@pytest.fixture
def calibrate(fitted_run, later, tmp_path):
    """Run a job; its results are in `tmp_path / "out"`."""

    def call(*overrides):
        options = [f"checkpoint={fitted_run}", f"good={later / 'good'}", "device=cpu"]
        options += ["n_threads=2", f"paths.output_dir={tmp_path / 'out'}", *overrides]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return run(compose("calibrate", options))

    return call


@pytest.fixture
def good(later):
    return sorted((later / "good").iterdir())


def test_thresholds_come_from_the_later_parts(calibrate, fitted_run, good, tmp_path):
    report = calibrate()
    assert report == json.loads((tmp_path / "out/calibration.json").read_text())
    old, new = (fre_lightning.load(f, device="cpu") for f in (fitted_run, tmp_path / "out"))
    scores = [result.score for result in old.detect_batch(good)]
    assert report["old"]["threshold"] == old.threshold
    assert report["old"]["n_good_stopped"] == sum(score > old.threshold for score in scores) > 6
    assert report["new"]["threshold"] == new.threshold
    assert report["new"]["n_good_stopped"] == 1  # floor(0.2 * 13) = 2: the second highest
    assert len(new.normal_scores) == N_GOOD
    assert new.threshold in new.normal_scores
    assert (tmp_path / "out/config.yaml").is_file()


def test_subspaces_stay_as_they_are(calibrate, fitted_run, tmp_path):
    calibrate()
    states = [
        torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
        for folder in (fitted_run, tmp_path / "out")
    ]
    digests = [{k: state_digest({k: v}) for k, v in state.items()} for state in states]
    changed = [name for name in digests[0] if digests[0][name] != digests[1][name]]
    assert set(changed) == {
        "calibration.image_scores",
        "calibration.map_maxima",
        "scoring.expected",
    }


def test_python_says_what_the_command_says(calibrate, fitted_run, good, tmp_path):
    report = calibrate()
    old = fre_lightning.load(fitted_run, device="cpu")
    before = old(good[0]).score
    new = old.calibrate(map(str, good))
    assert new.threshold == pytest.approx(report["new"]["threshold"], rel=1e-5)
    assert old(good[0]).score == before  # this one is not changed
    new.at_rate(0.4).save(tmp_path / "mine.ckpt")
    mine = fre_lightning.load(tmp_path / "mine.ckpt", device="cpu")
    assert (mine.false_alarm_rate, mine.threshold) == (0.4, new.at_rate(0.4).threshold)
    assert mine.threshold < new.threshold
    assert mine(good[0]).score == pytest.approx(new(good[0]).score, rel=1e-5)


def test_labels_choose_only_where_the_command_says_so(calibrate, later, tmp_path, capsys):
    without, defective = calibrate(), f"defective={later / 'defective'}"
    report = calibrate(defective)
    assert report["new"]["threshold"] == without["new"]["threshold"]
    points = {point["name"]: point for point in report["operating_points"]}
    assert points["rate"]["defective_missed"]["total"] == N_DEFECTIVE
    assert "rate (chosen)" in capsys.readouterr().out
    for name in ("no_false_alarm", "no_miss", "least_cost"):
        calibrate(defective, f"operating_point={name}")
        detector = fre_lightning.load(tmp_path / "out", device="cpu")
        assert detector.threshold == pytest.approx(points[name]["threshold"])
    found = [r.is_defective for r in detector.detect_batch(sorted((later / "defective").iterdir()))]
    assert found.count(False) == points["least_cost"]["defective_missed"]["n"]


def test_later_parts_may_have_regions_of_their_own(calibrate, make_config, mvtec, later, tmp_path):
    """Good and defective ones of one name, too."""
    roi = draw_regions(mvtec, tmp_path / "roi")
    fit(make_config(f"dataset.roi={roi}", "logger=none", "report=false"))
    gaps = draw_regions(later, tmp_path / "gaps")
    arguments = [f"checkpoint={tmp_path / 'run'}", f"defective={later / 'defective'}"]
    report = calibrate(*arguments, f"roi={gaps}")
    options = {"device": "cpu", "roi": gaps, "roi_root": later}
    new = fre_lightning.load(tmp_path / "out", **options)
    defective = new.detect_batch(sorted((later / "defective").iterdir()))
    assert report["new"]["n_defective_missed"] == sum(not r.is_defective for r in defective)
    old = fre_lightning.load(tmp_path / "run", **options)
    good = sorted((later / "good").iterdir())
    assert old.calibrate(good).threshold == pytest.approx(report["new"]["threshold"], rel=1e-4)
    without = calibrate(*arguments)["new"]["threshold"]
    assert without != pytest.approx(report["new"]["threshold"], rel=1e-3)


def test_few_parts_are_extrapolated_and_it_is_said(calibrate, caplog):
    report = calibrate("false_alarm_rate=0.05")
    assert "takes 19 good images to observe and there are 12" in caplog.text
    assert report["new"]["n_good_stopped"] == 0


def test_an_obvious_defect_among_the_good_is_named(calibrate, good, later, tmp_path, caplog):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in good:
        (folder / path.name).write_bytes(path.read_bytes())
    Image.fromarray(np.tile(np.uint8([0, 255]), (32, 16))).save(folder / "wrong.png")
    report = calibrate(f"good={folder}")
    assert [part["path"] for part in report["odd"]] == [str(folder / "wrong.png")]
    assert report["odd"][0]["p_value"] == pytest.approx(1 / 17)
    assert "wrong.png good?" in caplog.text
    assert calibrate()["odd"] == []


def test_mistakes(calibrate, good, tmp_path):
    (tmp_path / "few").mkdir()
    with pytest.raises(DatasetError, match="no image in good="):
        calibrate(f"good={tmp_path / 'few'}")
    with pytest.raises(DatasetError, match="no image in defective=nowhere"):
        calibrate("defective=nowhere")
    with pytest.raises(ConfigError, match="add defective=DIR"):
        calibrate("operating_point=no_miss")
    (tmp_path / "few/a.png").write_bytes(good[0].read_bytes())
    with pytest.raises(DatasetError, match="at least 3 good images; there are 1"):
        calibrate(f"good={tmp_path / 'few'}")
    (tmp_path / "few/b.png").write_bytes(b"broken")
    with pytest.raises(UnreadableImageError, match=r"b\.png"):
        calibrate(f"good={tmp_path / 'few'}")


def test_the_page_shows_both_thresholds_and_runs_nothing(calibrate, good, later, tmp_path):
    folder = tmp_path / "<script>alert(1)"
    folder.mkdir()
    for path in good:
        (folder / path.name).write_bytes(path.read_bytes())
    report = calibrate(f"good='{folder}'", f"defective={later / 'defective'}")
    page = (tmp_path / "out/report.html").read_text()
    for side in ("old", "new"):
        assert f"threshold {report[side]['threshold']:.4g}" in page
    assert page.count("<svg") == 2
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert f"{report['old']['n_good_stopped']} of 12" in page
