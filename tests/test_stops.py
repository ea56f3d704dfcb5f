"""Ctrl-C and SIGTERM at any moment of any command: what is left, and what the next start does."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import TINY_MODEL, draw_mvtec, make_settings

PYTHON = [sys.executable, "-m"]


def decode(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def read_table(path: Path) -> None:
    with path.open(newline="") as stream:
        assert len({len(row) for row in csv.reader(stream)}) == 1


PARSERS: dict[str, Callable[[Path], object]] = {
    ".ckpt": lambda path: torch.load(path, weights_only=True),
    ".csv": read_table,
    ".html": lambda path: path.read_text().rstrip().endswith("</html>") or 1 / 0,
    ".jpg": decode,
    ".json": lambda path: json.loads(path.read_text()),
    ".npy": lambda path: np.load(path).sum(),
    ".onnx": lambda path: path.stat().st_size > 1000 or 1 / 0,
    ".png": decode,
    ".pt2": lambda path: ZipFile(path).testzip(),
    ".zip": lambda path: ZipFile(path).testzip(),
}


def find_flaws(folder: Path) -> list[str]:
    """Temporary files and folders, and files that cannot be read."""
    flaws = []
    for path in folder.rglob("*"):
        name = path.name
        if path.suffix in {".tmp", ".partial"} or name.startswith((".export-", "tmp")):
            flaws.append(f"{path} is left")
        if path.is_file() and path.suffix in PARSERS:
            try:
                PARSERS[path.suffix](path)
            except Exception as error:  # noqa: BLE001 - each is a flaw
                flaws.append(f"{path}: {error}")
    return flaws


class Stopped(NamedTuple):
    code: int
    said: str
    seconds: float


def start(
    command: list[str], folder: Path, number: int = 0, seconds: float | None = None
) -> Stopped:
    """Run a command in a folder, and send it a signal after some seconds if it still runs."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | {"TMPDIR": str(scratch)}
    begin = time.monotonic()
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            said, _ = process.communicate(timeout=120)
        # As shells report it: while Python ends, after the work, signals have no handler any more.
        code = 128 - process.returncode if process.returncode < 0 else process.returncode
        return Stopped(code, said, time.monotonic() - begin)


COMMANDS = ("run cold", "sweep", "predict", "report")


@pytest.fixture
def command(request: pytest.FixtureRequest, fitted_run: Path, tmp_path: Path) -> list[str]:
    """A command that writes into the folder it runs in."""
    name, _, option = request.param.partition(" ")
    data = draw_mvtec(tmp_path / "mvtec")
    cache = tmp_path / "cache" if option != "cold" else Path("cache")
    run = ["fre_lightning", *TINY_MODEL, *make_settings(cache.parent, data), "heatmaps=true"]
    return {
        "run": [*run, "hydra.run.dir=out"],
        "sweep": ["fre_lightning", "-m", *run[1:], "seed=0,1", "hydra.sweep.dir=out"],
        "predict": [
            "fre_lightning.predict",
            f"checkpoint={fitted_run}",
            f"input={data}",
            "heatmaps=true",
            "hydra.run.dir=out",
        ],
        "report": ["fre_lightning.report", str(fitted_run), "--output", "report.html"],
    }[name]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS, indirect=True)
def test_any_command_may_be_stopped_at_any_moment(
    command: list[str], number: int, tmp_path: Path
) -> None:
    whole = start([*PYTHON, *command], tmp_path / "whole")
    assert whole.code == 0, whole.said
    share = random.Random(f"{command[0]} {number}").random()
    stopped = start([*PYTHON, *command], tmp_path / "cut", number, share * whole.seconds)
    assert stopped.code in {0, 128 + number}, stopped.said  # it may just have ended
    assert "Traceback" not in stopped.said
    assert "Exception ignored" not in stopped.said
    assert find_flaws(tmp_path / "cut") == []
    again = start([*PYTHON, *command], tmp_path / "cut")
    assert again.code == 0, again.said
    assert find_flaws(tmp_path / "cut") == []
