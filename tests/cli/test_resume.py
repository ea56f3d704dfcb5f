"""Sweeps that were killed, and go on with `resume=true`."""

import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import TINY_MODEL, draw_mvtec, make_settings, said
from tests.test_stops import find_flaws


def sweep_of(tmp_path: Path, folder: str, *more: str) -> list[str]:
    settings = [*TINY_MODEL, *make_settings(tmp_path, tmp_path / "mvtec"), "logger=none"]
    jobs = ["dataset.category=part,copy", "reducer=pca,tae"]
    place = f"hydra.sweep.dir={tmp_path / folder}"
    return [sys.executable, "-m", "fre_lightning", "-m", *settings, *jobs, place, *more]


def run_sweep(tmp_path: Path, folder: str, *more: str) -> str:
    command = sweep_of(tmp_path, folder, *more)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return " ".join((result.stdout + result.stderr).split())


def metrics_of(folder: Path) -> list[dict]:
    """What the jobs found, without times."""
    found = [json.loads((folder / str(n) / "metrics.json").read_text()) for n in range(4)]
    return [{k: v for k, v in one.items() if not k.startswith("seconds")} for one in found]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = draw_mvtec(tmp_path / "mvtec")
    shutil.copytree(root / "part", root / "copy")
    return root


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_goes_on_and_ends_as_undisturbed(
    tmp_path: Path, data: Path
) -> None:
    process = subprocess.Popen(sweep_of(tmp_path, "cut"), stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "cut/1/finished.json", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut/3/finished.json").exists()
    rest = run_sweep(tmp_path, "cut", "resume=true")
    assert "of 4 jobs were finished before, and skipped" in rest
    again = run_sweep(tmp_path, "cut", "resume=true")
    assert "4 of 4 jobs were finished before" in again
    run_sweep(tmp_path, "whole")
    for name in ("results.csv", "results.md"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")
    report = (tmp_path / "cut/report.html").read_text(encoding="utf-8")
    assert report.count('<details class="run"') == 4


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_as_undisturbed(tmp_path: Path, data: Path) -> None:
    start = time.monotonic()
    run_sweep(tmp_path, "whole")
    seconds, chance = time.monotonic() - start, random.Random(0)
    shutil.rmtree(tmp_path / "cache")
    for _ in range(6):
        process = subprocess.Popen(
            sweep_of(tmp_path, "cut", "resume=true"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.random() * seconds)
        process.kill()
        process.wait()
    run_sweep(tmp_path, "cut", "resume=true")
    name = "results.csv"
    assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")
    assert find_flaws(tmp_path / "cut") == []
    assert find_flaws(tmp_path / "cache") == []


def marks_of(folder: Path) -> list[int]:
    """When each job was finished."""
    paths = sorted(folder.glob("*/finished.json"))
    return [path.stat().st_mtime_ns for path in paths]


def test_only_jobs_whose_settings_changed_run_again(call, settings, tmp_path):
    sweep = ["-m", *TINY_MODEL, *settings, "logger=none", "hydra.sweep.dir=sweep", "report=false"]
    folder = tmp_path / "cwd/sweep"
    assert call(*sweep, "seed=0,1").returncode == 0
    before, table = marks_of(folder), (folder / "results.csv").read_bytes()
    same = call(*sweep, "seed=0,1", "resume=true")
    assert same.returncode == 0
    assert "2 of 2 jobs were finished before" in said(same)
    assert (marks_of(folder), (folder / "results.csv").read_bytes()) == (before, table)
    changed = call(*sweep, "seed=0,2", "resume=true")
    assert "seed changed" in said(changed)
    assert "1 of 2 jobs were finished before" in said(changed)
    is_same = [x == y for x, y in zip(before, marks_of(folder), strict=True)]
    assert is_same == [True, False]
    with (folder / "results.csv").open() as stream:
        header = next(csv.reader(stream))
    assert {"seed=0 image_auroc", "seed=2 image_auroc"} <= {*header}
    assert not any("seed=1" in name for name in header)


def test_a_job_that_failed_runs_again(call, settings, tmp_path, mvtec):
    sweep = ["-m", *TINY_MODEL, *settings, "logger=none", "dataset.category=part,late"]
    sweep += ["hydra.sweep.dir=sweep", "report=false", "resume=true"]
    assert call(*sweep).returncode == 2
    (mvtec / "late").symlink_to(mvtec / "part")
    result = call(*sweep)
    assert (result.returncode, "1 of 2 jobs were finished before" in said(result)) == (0, True)
    with (tmp_path / "cwd/sweep/results.csv").open() as stream:
        assert all(row["image_auroc"] for row in csv.DictReader(stream))


def test_a_run_is_skipped_too_and_needs_a_folder_with_a_name(call, settings, tmp_path):
    command = [*TINY_MODEL, *settings, "logger=none", "resume=true", "report=false"]
    unnamed = call(*command)
    assert (unnamed.returncode, unnamed.stderr.count("\n")) == (2, 1)
    assert "hydra.run.dir=DIR" in unnamed.stderr
    assert not (tmp_path / "cwd/outputs").exists()
    for place in ("hydra.run.dir=mine", "paths.output_dir=results"):
        first, second = call(*command, place), call(*command, place)
        assert (first.returncode, second.returncode) == (0, 0)
        assert "finished before" not in said(first)
        assert "finished before" in said(second)
