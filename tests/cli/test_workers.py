"""The processes of one run: how they are started and ended, and that they are one run."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fre_lightning.cli import workers
from tests.conftest import TINY_MODEL, make_settings

WAITS = "import time; time.sleep(60)"
TELLS = (
    "import os, pathlib; pathlib.Path(os.environ['LOCAL_RANK']).write_text(str(dict(os.environ)))"
)


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")  # no message is broken into lines


@pytest.fixture
def run_scripts(monkeypatch, tmp_path):
    """Run scripts as the processes of a run, and find out that all of them have ended."""
    monkeypatch.chdir(tmp_path)
    for name in ("OMP_NUM_THREADS", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)

    def run(*scripts):
        started = []

        class Popen(subprocess.Popen):
            def __init__(self, _, env, **options):
                script = scripts[int(env["LOCAL_RANK"])]
                super().__init__([sys.executable, "-c", script], env=env, **options)
                started.append(self)

        monkeypatch.setattr(workers, "_command", list)
        monkeypatch.setattr(workers.subprocess, "Popen", Popen)
        try:
            trainer = {"devices": len(scripts), "num_nodes": 1}
            return workers.run_workers(OmegaConf.create({"trainer": trainer}))
        finally:
            assert [process.poll() is not None for process in started] == [True] * len(scripts)

    return run


def test_each_is_told_its_number(run_scripts):
    assert run_scripts(TELLS, TELLS, TELLS) == 0
    told = [eval(Path(str(rank)).read_text()) for rank in range(3)]
    assert [one["LOCAL_RANK"] for one in told] == ["0", "1", "2"]
    assert [one["RANK"] for one in told] == ["0", "1", "2"]
    for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "OMP_NUM_THREADS"):
        assert len({one[name] for one in told}) == 1
    assert told[0]["WORLD_SIZE"] == "3"


def test_an_error_that_the_first_has_told_ends_the_others(run_scripts):
    assert run_scripts("raise SystemExit(2)", WAITS) == 2


def test_a_killed_process_ends_the_others_with_a_sentence(run_scripts, monkeypatch):
    monkeypatch.setattr(workers, "_GRACE_SECONDS", 0.5)
    with pytest.raises(workers.WorkerError, match=r"Process 2 of 3 .* by SIGKILL.*same command"):
        run_scripts(WAITS, "import os; os.kill(os.getpid(), 9)", WAITS)


def test_an_error_of_the_program_in_one_of_them(run_scripts, monkeypatch):
    monkeypatch.setattr(workers, "_GRACE_SECONDS", 0.5)
    with pytest.raises(workers.WorkerError, match=r"Process 2 of 2 .* with code 1"):
        run_scripts(WAITS, "raise SystemExit(1)")


def command(tmp_path, data, *options, start=(sys.executable, "-m")):
    settings = [one for one in make_settings(tmp_path, data) if one != "trainer=cpu"]
    own = [*TINY_MODEL, *settings, "trainer.accelerator=cpu", *options]
    return [*start, "fre_lightning", *sorted(own, key=lambda one: one != "-m")]


def call(*arguments, cwd, **options):
    return subprocess.run(
        *arguments, cwd=cwd, capture_output=True, text=True, timeout=300, check=False, **options
    )


def scores(folder):
    with (folder / "scores.csv").open(newline="") as stream:
        return {row["path"]: float(row["score"]) for row in csv.DictReader(stream)}


@pytest.mark.slow
def test_a_sweep_of_divided_runs_is_refused(tmp_path, mvtec):
    result = call(command(tmp_path, mvtec, "-m", "trainer=ddp", "seed=0,1"), cwd=tmp_path)
    assert result.returncode == 2
    assert "Choose one of the two" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("reducer", ["pca", "tae", "ae"])
def test_several_processes_give_the_scores_of_one(tmp_path, mvtec, reducer):
    """Of images with an unreadable one, cold: each process extracts its share."""
    (mvtec / "part/train/good/011.png").write_bytes(b"no image")
    found = {}
    for n in (1, 2, 3):
        options = ["trainer=cpu"] if n == 1 else ["trainer=ddp", f"trainer.devices={n}"]
        options += [f"reducer={reducer}", "dataset.skip_unreadable=true"]
        options += [f"paths.cache_dir=cache-{n}", f"hydra.run.dir=out-{n}", "heatmaps=true"]
        result = call(command(tmp_path, mvtec, *options), cwd=tmp_path)
        assert result.returncode == 0, result.stderr + result.stdout
        found[n] = scores(tmp_path / f"out-{n}")
        metrics = json.loads((tmp_path / f"out-{n}" / "metrics.json").read_text())
        assert metrics["n_train"] == 15
        assert (result.stderr + result.stdout).count("Left out") == 1
        found[n] |= {k: v for k, v in metrics.items() if "auroc" in k or "aupro" in k}
        for path in (tmp_path / f"cache-{n}").glob("*/manifest*"):
            assert path.name == "manifest.json"
    assert found[2] == pytest.approx(found[1], rel=1e-5)
    assert found[3] == pytest.approx(found[1], rel=1e-5)
    assert _files(tmp_path / "out-2") == _files(tmp_path / "out-1")


def _files(folder):
    """Names of files, but for TensorBoard's, which have the time and the process in them."""
    return {path.name for path in folder.rglob("*") if "tfevents" not in path.name}


@pytest.mark.slow
def test_torchrun_starts_them_as_well(tmp_path, mvtec):
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m"]
    options = ["trainer=ddp", "hydra.run.dir=${oc.env:FOLDER}/${now:%H-%M-%S}"]
    environment = os.environ | {"FOLDER": str(tmp_path / "runs"), "TMPDIR": str(tmp_path)}
    result = call(command(tmp_path, mvtec, *options, start=start), cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr + result.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(scores(folder)) == 11
    assert not list(tmp_path.glob("fre_lightning-*"))  # where the second wrote nothing


@pytest.mark.slow
def test_an_error_of_the_user_is_told_once(tmp_path, mvtec):
    (mvtec / "part/train/good/015.png").write_bytes(b"no image")
    result = call(command(tmp_path, mvtec, "trainer=ddp"), cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr + result.stdout
    assert (result.stderr + result.stdout).count("ERROR") == 1


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_the_next_run_goes_on_after_a_killed_process(tmp_path, mvtec, rank):
    """Killed once it is there; the next run gives the scores of an undisturbed one."""
    whole = call(command(tmp_path, mvtec, "trainer=cpu", "hydra.run.dir=whole"), cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    options = ["trainer=ddp", "hydra.run.dir=out", "paths.cache_dir=fresh"]
    process = subprocess.Popen(
        command(tmp_path, mvtec, *options),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while len(found := _children(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    while not (tmp_path / "fresh").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(found[rank], signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert "Traceback" not in said
    if process.returncode:  # it may just have ended
        assert process.returncode == 2
        assert "Start the same command again" in said
    again = call(command(tmp_path, mvtec, *options), cwd=tmp_path)
    assert again.returncode == 0, again.stderr + again.stdout
    assert scores(tmp_path / "out") == pytest.approx(scores(tmp_path / "whole"), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stop_ends_all_of_them(tmp_path, mvtec, number):
    process = subprocess.Popen(
        command(tmp_path, mvtec, "trainer=ddp"),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while len(found := _children(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(8)  # imports
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode in {0, -number if number == signal.SIGKILL else 128 + number}
    assert "Traceback" not in said
    assert said.count("Stopped.") <= 1
    deadline = time.monotonic() + 30
    while any(map(_is_alive, found)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(map(_is_alive, found))


def _children(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("needs /proc")
    return sorted(map(int, path.read_text().split()))


def _is_alive(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().split()[2] != "Z"
