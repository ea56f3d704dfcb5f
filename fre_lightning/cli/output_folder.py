"""What happens before the work of a command, and after a sweep: a Hydra callback."""

import atexit
import contextlib
import importlib.util
import shutil
import sys
import tempfile
from itertools import chain, count
from pathlib import Path
from typing import Any, NoReturn

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, flag_override

from fre_lightning.arguments import mend
from fre_lightning.cli.jobs import USER_ERROR, Job
from fre_lightning.cli.workers import is_divided
from fre_lightning.rank import is_first
from fre_lightning.results.sweep_jobs import forget_jobs, read_jobs

_LEAST_SPACE = 2**16
"""Bytes on the disk, for the files that Hydra writes before a job."""

_ADVICE = "With resume=true hydra.sweep.dir={}, finished jobs of this sweep are skipped.\n"


class OutputFolder(Callback):
    """A Hydra callback that makes the folder of a run or a sweep before the work.

    Of a sweep it also asks for the launcher's package, and collects what became of the jobs.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Make the run's folder."""
        _make_folder(config, "run")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Make the sweep's folder."""
        runs_here = _require_launcher(config)
        _make_folder(config, "sweep", is_shared=not runs_here)
        forget_jobs(Path(config.hydra.sweep.dir))
        if command := Job.command:
            if "resume" in config:
                command.advice = _ADVICE.format(config.hydra.sweep.dir)
            if not runs_here:  # then this process only waits
                command.stops.raise_from_now_on()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Collect the exit codes of all jobs."""
        if command := Job.command:
            codes = [job.exit_code for job in read_jobs(Path(config.hydra.sweep.dir))]
            command.exit_codes += [code for code in codes if code]
            command.advice = ""


def _require_launcher(config: DictConfig) -> bool:
    """Whether jobs run in this process; ends the program if the launcher is not installed."""
    module = str(config.hydra.launcher._target_).rpartition(".")[0]
    try:
        is_installed = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        launcher = config.hydra.runtime.choices["hydra/launcher"]
        _end(
            f"hydra/launcher={launcher} needs a package: "
            f'`pip install "fre-lightning[{launcher.partition("_")[0]}]"`.'
        )
    return module.startswith("hydra._internal")


def _make_folder(config: DictConfig, kind: str, *, is_shared: bool = False) -> None:
    """Make an output folder and write there, or end the program: Hydra would print a traceback.

    A folder that is named by the second must be new: two commands may start in one second. One that
    is shared gets an absolute name, for other processes may have another working directory.
    """
    node = config.hydra[kind]
    folder, is_new = Path(node.dir), "%S" in OmegaConf.to_yaml(node)
    is_other = is_divided(config) and not is_first()
    if is_new and is_other:  # the first one writes, in a folder that it names
        folder = Path(tempfile.mkdtemp(prefix="fre_lightning-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if is_new and config.get("resume") and _writes_there(config):
        _end(f"resume=true goes on in a folder that you name: hydra.{kind}.dir=DIR.")
    try:
        made = _make_new(folder) if is_new and not is_other else folder
        made.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=made) as stream:
            stream.write(bytes(_LEAST_SPACE))
    except OSError as error:
        _end(
            f"Nothing can be written into the output folder {folder} ({error.strerror}). Choose "
            "another with hydra.run.dir=DIR, or hydra.sweep.dir=DIR for a sweep."
        )
    made = made.absolute() if is_shared else made
    if made != Path(node.dir):
        with flag_override(config, ["readonly", "struct"], [False, False]):
            node.dir = str(made)
            # A sweep's jobs are composed anew, from these.
            config.hydra.overrides.hydra.append(mend(f"hydra.{kind}.dir={made}"))


def _writes_there(config: DictConfig) -> bool:
    """Whether results go into Hydra's folder, not into one that paths.output_dir names."""
    return "output_dir: ${hydra:" in OmegaConf.to_yaml(config.paths)


def _end(message: str) -> NoReturn:
    """End the program with a sentence: after an exception of a callback Hydra would go on."""
    sys.stderr.write(f"{message}\n")
    raise SystemExit(USER_ERROR)


def _make_new(folder: Path) -> Path:
    """Make a folder that was not there: `folder`, or with -1, -2, ... behind its name."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(1))
    for path in chain([folder], numbered):
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            break
    return path
