import sys

import numpy as np
import pytest

sys.modules.setdefault("openvino_telemetry", None)
ov = pytest.importorskip("openvino")

from fre_lightning.backbones.openvino_store import load_or_convert  # noqa: E402

WEIGHTS = np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)


class Converter:
    """Makes a model that adds `WEIGHTS` to its input."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self):
        self.n_calls += 1
        images = ov.opset13.parameter([-1, 64], np.float32)
        return ov.Model([ov.opset13.add(images, ov.opset13.constant(WEIGHTS))], [images])


def run(model):
    return ov.Core().compile_model(model, "CPU")(np.zeros((2, 64), np.float32))[0]


def test_a_model_is_converted_once_and_in_full_precision(tmp_path):
    convert = Converter()
    for _ in range(2):
        model = load_or_convert(tmp_path, {"weights": "a"}, convert)
        assert np.array_equal(run(model), np.repeat(WEIGHTS, 2, axis=0))
    assert convert.n_calls == 1
    [path] = (tmp_path / "openvino").iterdir()  # and no temporary file
    assert path.suffix == ".zip"


def test_another_key_is_another_model(tmp_path, monkeypatch):
    convert = Converter()
    load_or_convert(tmp_path, {"weights": "a"}, convert)
    load_or_convert(tmp_path, {"weights": "b"}, convert)
    assert convert.n_calls == 2
    monkeypatch.setattr(ov, "__version__", "another")
    load_or_convert(tmp_path, {"weights": "a"}, convert)
    assert convert.n_calls == 3


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_model_is_converted_anew(tmp_path, damage, caplog):
    convert = Converter()
    load_or_convert(tmp_path, {}, convert)
    [path] = (tmp_path / "openvino").iterdir()
    content = bytearray(path.read_bytes())
    content[content.index(WEIGHTS.tobytes())] ^= 255
    path.write_bytes({"cut": content[:-100], "changed": content, "empty": b""}[damage])
    for _ in range(2):
        model = load_or_convert(tmp_path, {}, convert)
        assert np.array_equal(run(model), np.repeat(WEIGHTS, 2, axis=0))
    assert convert.n_calls == 2
    assert len(caplog.records) == 1


def test_a_folder_that_cannot_be_written_loses_nothing(tmp_path, caplog):
    (tmp_path / "file").touch()
    model = load_or_convert(tmp_path / "file", {}, Converter())
    assert np.array_equal(run(model), np.repeat(WEIGHTS, 2, axis=0))
    assert "cannot be kept" in caplog.text


def test_nothing_is_kept_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    convert = Converter()
    load_or_convert(None, {}, convert)
    load_or_convert(None, {}, convert)
    assert convert.n_calls == 2
    assert not list(tmp_path.iterdir())
