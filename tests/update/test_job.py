"""Further good parts to learn, through the command and the functions behind it."""

import json
import logging
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

import fre_lightning
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    UnreadableImageError,
)
from fre_lightning.experiment import run as fit
from fre_lightning.fitted import state_digest
from fre_lightning.update.job import run
from tests.conftest import draw_regions

OLD_CHECKPOINT = Path(__file__).parents[1] / "data/format-2.ckpt"


@pytest.fixture
def update(fitted_run, later, tmp_path):
    """Run a job; its results are in `tmp_path / "out"`."""

    def call(*overrides):
        options = [f"checkpoint={fitted_run}", f"good={later / 'good'}", "device=cpu"]
        options += ["n_threads=2", f"paths.output_dir={tmp_path / 'out'}", *overrides]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return run(compose("update", options))

    return call


@pytest.fixture
def good(later):
    return sorted((later / "good").iterdir())


def test_what_was_stopped_is_learnt(update, fitted_run, good, tmp_path):
    report = update("calibrate_on=all")
    assert report == json.loads((tmp_path / "out/update.json").read_text())
    old, new = (fre_lightning.load(f, device="cpu") for f in (fitted_run, tmp_path / "out"))
    assert report["new"]["threshold"] == new.threshold
    assert report["old"]["n_good_stopped"] > report["new"]["n_good_stopped"]
    before, after = (sum(r.score for r in d.detect_batch(good)) for d in (old, new))
    assert after < 0.5 * before  # they lie in the subspace now
    assert len(new.normal_scores) == len(old.normal_scores) + len(good)
    assert torch.equal(new.normal_scores[:16], old.normal_scores)
    contents = [
        torch.load(folder / "model.ckpt", weights_only=True)["fre_lightning"]["n_train"]
        for folder in (fitted_run, tmp_path / "out")
    ]
    assert contents == [16, 28]


def test_new_scores_are_held_out(update, good, tmp_path):
    """The image scores of what a subspace holds would be far too low for a threshold."""
    report = update()
    new = fre_lightning.load(tmp_path / "out", device="cpu")
    assert len(new.normal_scores) == report["new"]["n_normal_scores"] == len(good)
    own = torch.tensor([result.score for result in new.detect_batch(good)])
    assert float(new.normal_scores.median()) > 1.2 * float(own.median())


def test_python_says_what_the_command_says_and_goes_on(update, fitted_run, good, later):
    report = update()
    old = fre_lightning.load(fitted_run, device="cpu")
    new = old.update(good)
    assert new.threshold == pytest.approx(report["new"]["threshold"], rel=1e-4)
    again = new.update(sorted((later / "defective").iterdir()))
    assert len(again.normal_scores) == 6
    both = old.update(good, calibrate_on="all")
    assert len(both.normal_scores) == 16 + 12
    assert len(old.normal_scores) == 16
    with pytest.raises(ConfigError, match="choose new or all"):
        old.update(good, calibrate_on="none")


def test_later_parts_may_have_regions_of_their_own(
    update, make_config, good, mvtec, later, tmp_path
):
    roi = draw_regions(mvtec, tmp_path / "roi")
    fit(make_config(f"dataset.roi={roi}", "logger=none", "report=false"))
    gaps = draw_regions(later / "good", tmp_path / "gaps")
    arguments = [f"checkpoint={tmp_path / 'run'}", "false_alarm_rate=0.2"]
    report, plain = update(*arguments, f"roi={gaps}"), update(*arguments)
    options = {"device": "cpu", "false_alarm_rate": 0.2, "roi": gaps, "roi_root": later / "good"}
    detector = fre_lightning.load(tmp_path / "run", **options)
    assert detector.update(good).threshold == pytest.approx(report["new"]["threshold"], rel=1e-4)
    assert report["new"]["threshold"] != pytest.approx(plain["new"]["threshold"], rel=1e-3)
    (gaps / good[0].name).unlink()
    with pytest.raises(UnreadableImageError, match="has no region"):
        update(*arguments, f"roi={gaps}")


def test_mistakes(update, good, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    with pytest.raises(DatasetError, match="no image in good="):
        update(f"good={few}")
    (few / "a.png").write_bytes(good[0].read_bytes())
    with pytest.raises(DatasetError, match="at least 3 good images; there are 1"):
        update(f"good={few}")
    with pytest.raises(DatasetError, match="no good images"):
        fre_lightning.load(OLD_CHECKPOINT, device="cpu").calibrate([])


def test_an_older_checkpoint_is_to_be_fitted_again(update, fitted_run, tmp_path):
    content = torch.load(fitted_run / "model.ckpt", weights_only=True)
    state = content["state_dict"]
    for name in [name for name in state if name.endswith(("variances", "rest", "n_rows"))]:
        del state[name]
    content["fre_lightning"]["weights_sha256"] = state_digest(state)
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(CheckpointError, match=r"did not store variances.*Fit it again"):
        update(f"checkpoint={tmp_path / 'old.ckpt'}")


def test_an_autoencoder_is_refused(update, make_config, tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    fit(make_config("reducer=tae", "reducer.epochs=1", "logger=none", "report=false"))
    with pytest.raises(ConfigError, match=r"reducer=tae cannot be updated.*reducer=pca"):
        update(f"checkpoint={tmp_path / 'run'}")
