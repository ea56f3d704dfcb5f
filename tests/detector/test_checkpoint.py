"""What a checkpoint holds, and which ones are refused."""

import copy
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import fre_lightning
import fre_lightning.scoring
from fre_lightning.detector.checkpoint import FORMAT, PAYLOAD_KEY, read_checkpoint
from fre_lightning.errors import CheckpointError


@pytest.fixture
def path(fitted_run, tmp_path):
    return Path(shutil.copy(fitted_run / "model.ckpt", tmp_path))


@pytest.fixture
def change(path):
    """Store the checkpoint anew after a change of its content."""
    content = torch.load(path, weights_only=True)

    def write(edit):
        changed = copy.deepcopy(content)
        edit(changed)
        torch.save(changed, path)
        return path

    return write


def test_it_says_what_wrote_it_and_at_which_rate(path):
    checkpoint = read_checkpoint(path.parent)
    assert checkpoint.false_alarm_rate == 0.2
    assert checkpoint.n_train == 16
    versions = {"fre_lightning": fre_lightning.__version__, "torch": torch.__version__}
    assert torch.load(path, weights_only=True)[PAYLOAD_KEY]["versions"] == versions


def test_changed_weights_are_noticed(change):
    def edit(content):
        next(t for t in content["state_dict"].values() if t.numel() > 3).view(-1)[3] += 1e-3

    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(change(edit))


def test_flipped_bits_in_the_file_are_noticed(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.ckpt"):
        read_checkpoint(path)


def test_a_malicious_pickle_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"state_dict": {}, PAYLOAD_KEY: Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match=r"evil\.ckpt"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("number", [0, 999, None, "1"])
def test_another_format_is_told(change, number):
    path = change(lambda content: content[PAYLOAD_KEY].update(format=number))
    with pytest.raises(CheckpointError, match=f"format {number}.*reads formats 2 and {FORMAT}"):
        read_checkpoint(path)


def test_a_checkpoint_from_before_formats_is_told(change):
    def edit(content):
        content[PAYLOAD_KEY] = {"version": "0.0.9", "config": {}, "n_train": 3}

    with pytest.raises(CheckpointError, match=r"format None.*0\.0\.9"):
        read_checkpoint(change(edit))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "fre_lightning.files.os.system",
        "fre_lightning.cli.main",
        "fre_lightning.__main__.main",
        "fre_lightning.experiment.module.torch.nn.Linear",
        "fre_lightning.nowhere.Nothing",
        "fre_lightning.errors.FREError",
        "torch.nn.Linear",
        ["fre_lightning"],
    ],
)
def test_a_configuration_that_calls_anything_else_is_refused(change, target, monkeypatch):
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("it was run"))

    def edit(content):
        content[PAYLOAD_KEY]["config"]["scoring"] = {
            "deeper": [{"_target_": target, "command": "id"}]
        }

    with pytest.raises(CheckpointError, match="Do not trust"):
        read_checkpoint(change(edit))


def test_a_module_of_another_package_is_refused(change, monkeypatch):
    """Even if it can be found in a module of this package, as what that module imports."""
    monkeypatch.setattr(fre_lightning.scoring, "Linear", torch.nn.Linear, raising=False)

    def edit(content):
        node = {"_target_": "fre_lightning.scoring.Linear", "in_features": 1, "out_features": 1}
        content[PAYLOAD_KEY]["config"]["scoring"] = node

    with pytest.raises(CheckpointError, match="Do not trust"):
        read_checkpoint(change(edit))


def test_an_interpolation_is_refused(change):
    def edit(content):
        content[PAYLOAD_KEY]["config"]["model"]["name"] = "${oc.env:HOME}"

    with pytest.raises(CheckpointError, match="unresolved"):
        read_checkpoint(change(edit))


def test_a_checkpoint_of_before_the_rooms_loads_and_scores_as_then():
    """The file was written by version 0.1.0 when all modules lay in one folder."""
    rows, columns = np.mgrid[:80, :120]
    waves = 60 * np.sin(rows / 5)[..., None] + 40 * np.cos(columns[..., None] / [4, 7, 9])
    image = (128 + waves).clip(0, 255).astype(np.uint8)
    result = fre_lightning.load(Path(__file__).parents[1] / "data/format-2.ckpt", device="cpu")(
        image
    )
    assert result.score == pytest.approx(693.7947998, rel=1e-5)
    assert result.threshold == pytest.approx(2.2897534713623773)
    assert result.pixel_threshold == pytest.approx(2.6054353432079393)
    assert result.p_value == pytest.approx(1 / 7)
    assert result.anomaly_map.shape == (32, 64)
    assert result.anomaly_map.sum(dtype=np.float64) == pytest.approx(735855.0244, rel=1e-5)
