"""Sweeps of one command on launchers: the same table, report and exit code as in one process."""

import importlib.util
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fre_lightning.config import CONFIG_DIR
from tests.cli.test_resume import metrics_of
from tests.conftest import TINY_MODEL, draw_mvtec, make_settings

LAUNCHERS = ("joblib", "submitit_local", "submitit_slurm", "ray")
SWEEP = ("dataset.category=part,copy,gone", "reducer=pca,tae", "logger=none")

# What Slurm would do with a script: run it once for each number of its array, some at a time.
SBATCH = """
import os, re, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
script = open(sys.argv[-1]).read()
options = dict(re.findall("#SBATCH --([a-z-]+)=(.*)", script))
print(options, file=open(os.environ["SLURM_LOG"], "w"))
first, last, at_a_time = map(int, re.match(r"(\\d+)-(\\d+)%(\\d+)", options["array"]).groups())
batch = os.getpid()
print("Submitted batch job", batch, flush=True)
if os.fork():
    os._exit(0)
nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(nowhere, 1), os.dup2(nowhere, 2)  # who called sbatch waits until both are closed
time.sleep(1)
def run(number):
    ids = {"JOB_ID": batch, "ARRAY_JOB_ID": batch, "ARRAY_TASK_ID": number, "NTASKS": 1,
           "JOB_NUM_NODES": 1, "NODEID": 0, "PROCID": 0, "LOCALID": 0, "JOB_NODELIST": "localhost",
           "CPUS_PER_TASK": options["cpus-per-task"]}
    ids = {f"SLURM_{name}": str(value) for name, value in ids.items()}
    subprocess.run(["bash", "-c", script], env=os.environ | ids)
list(ThreadPoolExecutor(min(at_a_time, 2)).map(run, range(first, last + 1)))
"""
SRUN = """
import os, sys
os.execv(sys.executable, sys.argv[sys.argv.index(sys.executable):])
"""
SLURM = {"sbatch": SBATCH, "srun": SRUN, "sacct": "print('JobID|State|NodeList')", "scancel": ""}


def run_sweep(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    settings = [*TINY_MODEL, *make_settings(folder, folder / "mvtec")]
    command = [sys.executable, "-m", "fre_lightning", "-m", *settings, *SWEEP, *more]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the data and, in `basic`, the sweep of one process."""
    folder = tmp_path_factory.mktemp("sweeps")
    root = draw_mvtec(folder / "mvtec")
    (root / "copy").symlink_to(root / "part")
    result = run_sweep(folder, "hydra.sweep.dir=basic")
    assert result.returncode == 2, result.stderr
    return folder


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm of four scripts on the path; the file that gets the options of sbatch."""
    for name, program in SLURM.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{program}")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_LOG", str(tmp_path / "options"))
    return tmp_path / "options"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_ends_in_the_same_table_and_report(launcher, folder, slurm):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    settings = [f"hydra/launcher={launcher}", f"hydra.sweep.dir={launcher}"]
    result = run_sweep(folder, *settings)
    assert result.returncode == 2, result.stderr  # gone is no category
    assert "Traceback" not in result.stderr
    for name in ("results.csv", "results.md"):
        expected = (folder / "basic" / name).read_text()
        assert (folder / launcher / name).read_text() == expected
    found, expected = (metrics_of(folder / name) for name in (launcher, "basic"))
    for job, same in zip(found, expected, strict=True):
        # Jobs have one thread or more, whose sums differ in their last digits.
        assert _floats(job) == pytest.approx(_floats(same), rel=1e-5)
        assert job.keys() == same.keys()
        assert {**job, **_floats(same)} == same
    report = (folder / launcher / "report.html").read_text(encoding="utf-8")
    assert report.count('<details class="run"') == 6
    assert "gone tae failed: DatasetError" in report
    (folder / launcher / "1/finished.json").unlink()
    again = run_sweep(folder, *settings, "resume=true")
    assert "3 of 6 jobs were finished before" in again.stdout
    assert (folder / launcher / "results.csv").read_bytes() == (
        folder / "basic/results.csv"
    ).read_bytes()


def _floats(metrics: dict[str, object]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


@pytest.mark.slow
def test_slurm_gets_what_the_configuration_asks_for(folder, slurm):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    result = run_sweep(
        folder,
        "hydra/launcher=submitit_slurm",
        "hydra.sweep.dir=options",
        "hydra.launcher.partition=inspection",
        "hydra.launcher.cpus_per_task=1",
        "hydra.launcher.array_parallelism=2",
    )
    assert result.returncode == 2, result.stderr
    options = slurm.read_text()
    for word in ("'partition': 'inspection'", "'array': '0-5%2'", "'mem': '8GB'", "'time': '240'"):
        assert word in options
    assert "OMP_NUM_THREADS" in next((folder / "options/.submitit").rglob("*.sh")).read_text()


@pytest.mark.slow
def test_the_jobs_of_joblib_share_the_cores(folder, monkeypatch, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    program = """
from pathlib import Path
import torch
from fre_lightning.cli import run_command
from fre_lightning.threads import default_n_threads

def run(cfg):
    Path(cfg.paths.output_dir, "n").write_text(f"{torch.get_num_threads()} {default_n_threads()}")
    return {}
"""
    (tmp_path / "probe.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    start = "from fre_lightning.cli import run_command; run_command('export', 'probe')"
    settings = ["checkpoint=a,b", "hydra.sweep.dir=probe", "hydra/launcher=joblib"]
    command = [sys.executable, "-c", start, "-m", *settings]
    for n_jobs in (1, os.cpu_count()):
        jobs = f"hydra.launcher.n_jobs={n_jobs}"
        subprocess.run([*command, jobs], check=True, cwd=tmp_path, capture_output=True)
        n_threads = max(1, (os.cpu_count() or 1) // n_jobs)
        for number in range(2):
            found = (tmp_path / f"probe/{number}/n").read_text().split()
            assert found == [str(n_threads), str(min(n_threads, 16))]


def test_a_launcher_without_its_package_is_told_in_a_sentence(call, settings, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    result = call("-m", *settings, "hydra/launcher=ray")
    assert result.returncode == 2
    assert 'hydra/launcher=ray needs a package: `pip install "fre-lightning[ray]"`' in result.stderr
    assert result.stderr.count("\n") == 1


def test_every_launcher_is_tested():
    files = (CONFIG_DIR / "hydra/launcher").glob("*.yaml")
    assert {path.stem for path in files} == {*LAUNCHERS}
    assert all("_target_" in OmegaConf.load(path) for path in files)
