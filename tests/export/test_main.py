"""The command line of exports."""

import runpy
import sys

import pytest


def test_help_names_formats_inputs_and_settings(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fre_lightning.export", "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("fre_lightning.export", run_name="__main__")
    assert not stop.value.code
    text = capsys.readouterr().out
    for word in (
        "onnx",
        "openvino",
        "torch_export",
        "(N, H, W, 3)",
        "half_reducer",
        "checkpoint=RUN",
    ):
        assert word in text


def test_what_is_missing_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fre_lightning.export", "hydra.run.dir=run"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("fre_lightning.export", run_name="__main__")
    assert stop.value.code == 2
    assert "checkpoint=..." in capsys.readouterr().out
