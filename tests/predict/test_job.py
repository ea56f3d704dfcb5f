"""Tables of predictions, through the command line and the function behind it."""

import csv
import json
import logging
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

import fre_lightning
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import CheckpointError, DatasetError, OutputError
from fre_lightning.pictures.panels import heatmap_name
from fre_lightning.predict.job import run

COLUMNS = ("path", "score", "p_value", "threshold", "is_defective", "x0", "y0", "x1", "y1", "error")


@pytest.fixture
def predict(fitted_run, tmp_path):
    """Run a job and return its rows."""

    def call(*overrides):
        options = [f"checkpoint={fitted_run}", "device=cpu", "n_threads=2", *overrides]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = compose("predict", [f"paths.output_dir={tmp_path / 'out'}", *options])
        run(cfg)
        return read(tmp_path / "out/predictions.csv")

    return call


def read(path):
    with path.open(newline="", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def images(fitted_run):
    return fitted_run.parent / "mvtec/part/test"


def test_rows_are_what_the_detector_says(predict, images, fitted_run, capsys):
    rows = predict(f"input={images}")
    detector = fre_lightning.load(fitted_run, device="cpu")
    assert len(rows) == 11
    assert [row["path"] for row in rows] == sorted(str(path) for path in images.rglob("*.png"))
    for row in rows:
        assert tuple(row) == COLUMNS
        result = detector(row["path"])
        for name in ("score", "p_value", "threshold"):
            assert float(row[name]) == pytest.approx(getattr(result, name), rel=1e-4)
        assert row["is_defective"] == str(result.is_defective).lower()
        box = [row[name] for name in ("x0", "y0", "x1", "y1")]
        assert box == [str(value) for value in result.box or [""] * 4]
        assert row["error"] == ""
    n_defective = sum(row["is_defective"] == "true" for row in rows)
    assert (
        f"11 images ({n_defective} defective, {11 - n_defective} good)" in capsys.readouterr().out
    )


def test_unreadable_images_have_rows_and_the_rest_goes_on(predict, images, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(images, folder)
    (folder / "dent/000.png").write_bytes(b"broken")
    (folder / "good/001.png").write_bytes((folder / "good/001.png").read_bytes()[:100])
    rows = predict(f"input={folder}")
    wrong = [row["path"] for row in rows if row["error"]]
    assert wrong == [str(folder / "dent/000.png"), str(folder / "good/001.png")]
    assert [row["score"] == "" for row in rows] == [bool(row["error"]) for row in rows]
    assert len(rows) == 11


def test_when_no_image_can_be_read(predict, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="None of the images could be read"):
        predict(f"input={tmp_path / 'in'}")
    assert "a.png" in read(tmp_path / "out/predictions.csv")[0]["path"]


def test_heat_maps_lie_as_the_images_do(predict, images, tmp_path, fitted_run):
    predict(f"input={images}", "heatmaps=true")
    for path in images.rglob("*.png"):
        panel = Image.open(tmp_path / "out/heatmaps" / path.relative_to(images))
        assert panel.size == (32 + 4 + 32, 32)
        np.testing.assert_array_equal(np.asarray(panel)[:, :32, 0], np.asarray(Image.open(path)))
    assert list((tmp_path / "out").rglob("*.tmp")) == []


def test_names_of_heat_maps(monkeypatch):
    monkeypatch.chdir("/")
    for image, root, name in (
        ("/data/a/x.jpg", "/data", "a/x.jpg.png"),
        ("/data/a/x.jpg.png", "/data", "a/x.jpg.png.png"),
        ("data/a/x.PNG", "/data", "a/x.PNG"),
        ("data/../b/x.png", "data", "b/x.png"),
        ("/b/x.tif", "/", "b/x.tif.png"),
    ):
        assert str(heatmap_name(Path(image), Path(root))) == name


def test_the_threshold_and_the_rate_can_be_chosen(predict, images):
    rows = predict(f"input={images}", "threshold=0")
    assert {(row["threshold"], row["is_defective"]) for row in rows} == {("0", "true")}
    loose = predict(f"input={images}", "false_alarm_rate=0.5")[0]
    strict = predict(f"input={images}")[0]
    assert float(loose["threshold"]) < float(strict["threshold"])


def test_mistakes(predict, images, tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        predict("input=nowhere")
    with pytest.raises(CheckpointError, match="nothing"):
        predict(f"input={images}", "checkpoint=nothing")
    with pytest.raises(OutputError, match=r"paths\.output_dir"):
        predict(f"input={images}", "paths.output_dir=/dev/null/x")
    (tmp_path / "out/predictions.csv").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"predictions\.csv"):
        predict(f"input={images}")


def test_the_summary_counts_and_tells_of_drift(predict, images, tmp_path, monkeypatch):
    rows = predict(f"input={images}")
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    n_defective = sum(row["is_defective"] == "true" for row in rows)
    assert summary["images"] == {"defective": n_defective, "good": 11 - n_defective}
    assert summary["threshold"] == pytest.approx(float(rows[0]["threshold"]))
    assert (summary["drift"]["n_images"], summary["drift"]["noticed_at"]) == (11, None)
    worst = max(rows, key=lambda row: float(row["score"]))["path"]
    lines = [*[row["path"] for row in rows if "/good/" in row["path"]] * 4, *[worst] * 60]
    monkeypatch.setattr("fre_lightning.predict.inputs.read_lines", lambda _: iter(lines))
    predict("input=-")
    drift = json.loads((tmp_path / "out/summary.json").read_text())["drift"]
    assert 20 < drift["noticed_at"] < 80
    assert 18 <= drift["since"] <= 24
    assert drift["scores"] == "higher"


def test_a_malicious_checkpoint_is_refused_unread(predict, images, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"state_dict": {}, "fre_lightning": Evil()}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"model\.ckpt"):
        predict(f"input={images}", f"checkpoint={tmp_path}")
    assert not (tmp_path / "owned").exists()


# --- the command line


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    handlers, level = logging.root.handlers[:], logging.root.level

    def run_main(*arguments):
        monkeypatch.setattr(sys, "argv", ["predict", *arguments])
        try:
            runpy.run_module("fre_lightning.predict", run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, " ".join("".join(capsys.readouterr()).split())

    yield run_main
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_mistakes_are_told_in_a_line(call, fitted_run):
    code, text = call(f"checkpoint={fitted_run}")
    assert (code, "Set input=...; --help explains." in text) == (2, True)
    code, text = call(f"checkpoint={fitted_run}", "input=nowhere")
    assert (code, "nowhere" in text, "Traceback" in text) == (2, True, False)
    code, text = call(f"checkpoint={fitted_run}", "input=x", "treshold=3")
    assert (code, "treshold" in text, "Traceback" in text) == (1, True, False)  # Hydra's own


def test_paths_on_standard_input_are_answered_one_by_one_until_ctrl_c(fitted_run, images, tmp_path):
    table = tmp_path / "out/predictions.csv"
    options = [f"checkpoint={fitted_run}", "device=cpu", "input=-", f"hydra.run.dir={tmp_path}/out"]
    command = [sys.executable, "-m", "fre_lightning.predict", *options]
    paths = [*sorted(images.rglob("*.png"))[:3], tmp_path / "missing.png"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **pipes) as process:
        for n_rows, path in enumerate(paths, 1):
            process.stdin.write(f"{path}\n".encode())
            process.stdin.flush()
            _wait_for(lambda n=n_rows: table.is_file() and len(read(table)) == n)
        assert process.poll() is None  # it waits for more
        process.send_signal(signal.SIGINT)
        text = process.stdout.read().decode()
        assert process.wait(timeout=60) == 130
    assert "Stopped" in text
    assert "Traceback" not in text
    assert "Fatal" not in text
    rows = read(table)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert "missing.png" in rows[-1]["error"]


def test_a_stream_that_ends(predict, images, monkeypatch, capsys):
    lines = [str(path) for path in images.rglob("*.png")]
    monkeypatch.setattr("fre_lightning.predict.inputs.read_lines", lambda _: iter(lines))
    assert [row["path"] for row in predict("input=-")] == lines
    assert "11 images (" in capsys.readouterr().out


def _wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
