"""The command line of exports."""

import sys

import pytest

from fre_lightning.export.__main__ import main


def test_help_names_formats_inputs_and_settings(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fre_lightning.export", "--help"])
    with pytest.raises(SystemExit) as stop:
        main()
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
        main()
    assert stop.value.code == 2
    assert "checkpoint=..." in capsys.readouterr().out
