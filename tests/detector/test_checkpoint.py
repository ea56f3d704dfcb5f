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
    with pytest.raises(CheckpointError, match=f"format {number}.*reads formats 2, 3 and {FORMAT}"):
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


def waves(height, width):
    """A drawn image `(height, width, 3)`."""
    rows, columns = np.mgrid[:height, :width]
    levels = 60 * np.sin(rows / 5)[..., None] + 40 * np.cos(columns[..., None] / [4, 7, 9])
    return (128 + levels).clip(0, 255).astype(np.uint8)


# Format 2 was written when all modules lay in one folder, format 3 with a region.
@pytest.mark.parametrize(
    ("number", "size", "score", "thresholds", "p_value", "map_shape", "map_sum"),
    [
        (2, (80, 120), 693.7947998, (2.28975347, 2.60543534), 1 / 7, (32, 64), 735855.0244),
        (3, (64, 64), 675.1208496, (3.43868017, 3.43868017), 1 / 13, (32, 32), 312051.4717),
    ],
)
def test_older_formats_load_and_score_as_then(
    number, size, score, thresholds, p_value, map_shape, map_sum
):
    path = Path(__file__).parents[1] / f"data/format-{number}.ckpt"
    result = fre_lightning.load(path, device="cpu")(waves(*size))
    assert result.score == pytest.approx(score, rel=1e-5)
    assert (result.threshold, result.pixel_threshold) == pytest.approx(thresholds)
    assert result.p_value == pytest.approx(p_value)
    assert result.anomaly_map.shape == map_shape
    assert result.anomaly_map.sum(dtype=np.float64) == pytest.approx(map_sum, rel=1e-5)


def test_of_every_older_format_one_is_stored():
    stored = {path.stem for path in (Path(__file__).parents[1] / "data").glob("*.ckpt")}
    assert stored == {f"format-{number}" for number in range(2, FORMAT)}


def test_axes_take_half_precision_on_disk_and_lose_nothing(path):
    stored = torch.load(path, weights_only=True)["state_dict"]
    read = read_checkpoint(path).state_dict
    axes = [name for name in stored if name.endswith("encoder_weight")]
    assert axes
    for name in axes:
        assert stored[name].dtype == torch.float16
        assert read[name].dtype == torch.float32
        assert torch.equal(read[name], stored[name].float())
