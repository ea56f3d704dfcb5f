"""`kill -9` at random moments of commands: the same command, started again, ends as if undisturbed.

`KILLS=50 python -m pytest tests/test_kills.py` takes more moments than the suite does.
"""

import csv
import functools
import importlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from fre_lightning.detector.checkpoint import read_checkpoint
from tests.conftest import TINY_MODEL
from tests.test_stops import find_flaws

pytestmark = pytest.mark.slow

# Processes are forked from one that has imported what takes seconds.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        f"fre_lightning.{name}"
        for name in ("experiment.job", "report", "calibrate.job", "update.job", "export.job")
    ]
)

N_KILLS = int(os.environ.get("KILLS", "8"))
RUN = [
    "fre_lightning",
    *TINY_MODEL,
    "dataset=synthetic",
    "dataset.image_size=64",
    "dataset.n_train=150",  # more than a shard holds
    "augmentation.max_images=0",
    "datamodule.n_threads=1",
    "trainer=cpu",
    "heatmaps=true",
    "paths.cache_dir=cache",
    "paths.data_dir=data",
]
ON_RUN = ["checkpoint=given/out", "hydra.run.dir=out"]
PARTS = "given/data/synthetic/*/fabric/test/good"
COMMANDS = {
    # A small one: recording the graph of an export takes half a minute of the usual one.
    "given": [*RUN, "model.n_orientations=2", "model.layers=[order2]", "hydra.run.dir=out"],
    "run": [*RUN, "reducer=tae", "reducer.epochs=40", "hydra.run.dir=out"],
    "resumed run": [*RUN, "resume=true", "hydra.run.dir=out"],
    "sweep": ["fre_lightning", "-m", *RUN[1:], "reducer=pca,ae", "hydra.sweep.dir=out"],
    "resumed sweep": [
        "fre_lightning",
        "-m",
        *RUN[1:],
        "reducer=pca,tae",
        "resume=true",
        "hydra.sweep.dir=out",
    ],
    "calibrate": ["fre_lightning.calibrate", *ON_RUN, "good=PARTS", "n_threads=1"],
    "update": ["fre_lightning.update", *ON_RUN, "good=PARTS", "n_threads=1"],
    "export": ["fre_lightning.export", *ON_RUN, "n_images=4", "latency_repeats=1", "resize=false"],
}
ORDER = ("run", "resumed sweep", "resumed run", "sweep", "calibrate", "run", "update", "export")
TIMES = re.compile(r"seconds|latency|megabytes_per")


class Ended(NamedTuple):
    """How a command ended: its exit code, negative of a signal; its seconds, and what it said."""

    code: int
    seconds: float
    said: str


class Undisturbed(NamedTuple):
    """A command's results, and how long it took."""

    results: dict[str, Any]
    seconds: float


def work(arguments: list[str], folder: Path) -> None:
    """Run a command as its module does, in a process of its own."""
    os.chdir(folder)
    log = os.open("said.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = arguments
    module = "fre_lightning.cli" if arguments[0] == "fre_lightning" else f"{arguments[0]}.__main__"
    importlib.import_module(module).main()


def call(name: str, folder: Path, seconds: float | None = None) -> Ended:
    """Run a command in a folder, and kill it after some seconds if it still runs."""
    parts = next((str(path.relative_to(folder)) for path in folder.glob(PARTS)), "none")
    arguments = [argument.replace("PARTS", parts) for argument in COMMANDS[name]]
    process = CONTEXT.Process(target=work, args=(arguments, folder))
    begin = time.monotonic()
    process.start()
    process.join(300 if seconds is None else seconds)
    process.kill()
    process.join()
    assert process.exitcode is not None
    log = folder / "said.log"
    said = log.read_text() if log.exists() else ""
    return Ended(process.exitcode, time.monotonic() - begin, said)


def without_times(content: Any) -> Any:
    """The content of a JSON file without what differs from run to run by the clock."""
    if isinstance(content, dict):
        return {
            key: without_times(value) for key, value in content.items() if not TIMES.search(key)
        }
    return [without_times(value) for value in content] if isinstance(content, list) else content


def results_of(folder: Path) -> dict[str, Any]:
    """What a command has written: tables as bytes, JSON without times, weights of detectors."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "out").rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix in {".csv", ".png"} and "results" not in name:
            found[name] = path.read_bytes()
        elif path.name == "results.csv":
            with path.open(newline="") as stream:
                found[name] = [without_times(row) for row in csv.DictReader(stream)]
        elif path.name in {"metrics.json", "calibration.json", "update.json", "export.json"}:
            found[name] = without_times(json.loads(path.read_text()))
        elif path.name == "model.ckpt":
            found[name] = read_checkpoint(path).state_dict
    assert found
    return found


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name.endswith(".ckpt"):
            assert value.keys() == other[name].keys()
            for key, tensor in value.items():
                np.testing.assert_array_equal(tensor, other[name][key], err_msg=f"{name}: {key}")
        else:
            assert value == other[name], name


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, for the commands that take one."""
    folder = tmp_path_factory.mktemp("given")
    with pytest.MonkeyPatch.context() as patch:
        # The first call starts the process that others are forked from: its threads would be lost.
        patch.setenv("OMP_NUM_THREADS", "1")
        ended = call("given", folder)
    assert ended.code == 0, ended.said
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    given: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Undisturbed]:
    """Runs a command once and gives its results."""

    @functools.cache
    def run(name: str) -> Undisturbed:
        folder = tmp_path_factory.mktemp("whole")
        (folder / "given").symlink_to(given)
        ended = call(name, folder)
        assert ended.code == 0, ended.said
        return Undisturbed(results_of(folder), ended.seconds)

    return run


@pytest.mark.parametrize("number", range(N_KILLS))
def test_killed_at_any_moment_and_started_again(
    number: int, given: Path, undisturbed: Callable[[str], Undisturbed], tmp_path: Path
) -> None:
    name = ORDER[number % len(ORDER)]
    whole = undisturbed(name)
    (tmp_path / "given").symlink_to(given)
    moment = random.Random(number).uniform(0, whole.seconds)
    ended = call(name, tmp_path, moment)
    assert ended.code in {0, -signal.SIGKILL}, ended.said
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("[cdo]*/*"))
    print(f"{name}: {ended.code} after {moment:.2f} of {whole.seconds:.2f} s: {left}")  # noqa: T201
    # What is half may be left under a temporary name, which starts with a dot, or in such a folder.
    assert [flaw for flaw in find_flaws(tmp_path) if "/." not in flaw] == []
    again = call(name, tmp_path)
    assert again.code == 0, again.said
    assert "Traceback" not in again.said
    assert "damaged" not in again.said
    assert find_flaws(tmp_path / "out") == []
    assert_equal(results_of(tmp_path), whole.results)
    shutil.rmtree(tmp_path)
