"""The command line of every command: Hydra composes a configuration, a job runs it.

Nothing heavy is imported before a job starts, so that `--help` and `--cfg job` answer at once.
"""

import contextlib
import gc
import importlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override

from fre_lightning.arguments import mend, mend_arguments
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError, FREError, Stops
from fre_lightning.files import print_any_name
from fre_lightning.results.sweep_jobs import SweepJob, forget_jobs, read_jobs, record_job

log = logging.getLogger(__name__)

# Our files of hydra/launcher have the names of the plugins' own, whose keys and types they obey.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/.*' is validated against")

_PROGRAM_ERROR = 1
_USER_ERROR = 2
_ADVICE = "With resume=true hydra.sweep.dir={}, finished jobs of this sweep are skipped.\n"


def run_command(config_name: str, job: str) -> None:
    """Compose a configuration from the command line and run it.

    Exits with 2 after a user's mistake, which is told without a traceback and ends no sweep; with
    1 after an error of the program's own; with 130 after Ctrl-C and 143 after SIGTERM.

    Args:
        config_name: The primary configuration, in `configs/`.
        job: The module whose `run` is called with it; imported when the first job starts.
    """
    command = Job.command = _Command(Stops(in_order=False))
    print_any_name()
    with command.stops:
        try:
            mend_arguments()
        except ConfigError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(_USER_ERROR)
        try:
            hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name)(
                Job(job)
            )()
        finally:
            sys.stderr.write(command.advice)
    if command.exit_codes:
        sys.exit(min(command.exit_codes))


@dataclass
class _Command:
    """The command of this process.

    Attributes:
        stops: Its signals.
        exit_codes: Of the jobs that failed.
        advice: How to go on with a sweep; empty if there is none, or after its end.
    """

    stops: Stops
    exit_codes: list[int] = field(default_factory=list)
    advice: str = ""


class Job:
    """What Hydra calls with the configuration of each job, also in other processes.

    Args:
        module: Its `run` does the work.

    Attributes:
        command: That of this process; None where a launcher has brought the job elsewhere, which
            then decides on signals.
    """

    command: ClassVar[_Command | None] = None

    def __init__(self, module: str) -> None:
        self._module = module

    def __call__(self, cfg: DictConfig) -> Any:
        """Run a job.

        Returns:
            What its `run` returns; or of a job that failed its category and its error.
        """
        print_any_name()
        is_sweep, exit_code = HydraConfig.get().mode == RunMode.MULTIRUN, 0
        try:
            _require_values(cfg)
            run = _load_run(self._module)
            with self.command.stops.work() if self.command else contextlib.nullcontext():
                value = run(cfg)
        except FREError as error:
            log.error("%s", error)
            exit_code, value = _USER_ERROR, _failure(cfg, error)
        except Exception as error:
            if not is_sweep:
                raise
            log.exception("This job failed; the sweep goes on.")
            exit_code, value = _PROGRAM_ERROR, _failure(cfg, error)
        if exit_code and self.command and not is_sweep:
            self.command.exit_codes.append(exit_code)
        if is_sweep:
            _record(exit_code, was_finished=isinstance(value, dict) and "was_finished" in value)
        return value


def main() -> None:
    """Run `python -m fre_lightning`."""
    run_command("config", "fre_lightning.experiment.job")


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
    """Make an output folder, or end the program: Hydra itself would print a traceback.

    A folder that is named by the second must be new: two commands may start in one second. One that
    is shared gets an absolute name, for other processes may have another working directory.
    """
    node = config.hydra[kind]
    folder, is_new = Path(node.dir), "%S" in OmegaConf.to_yaml(node)
    if is_new and config.get("resume") and _writes_there(config):
        _end(f"resume=true goes on in a folder that you name: hydra.{kind}.dir=DIR.")
    try:
        made = _make_new(folder) if is_new else folder
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _end(
            f"The output folder {folder} cannot be made ({error.strerror}). Choose another with "
            "hydra.run.dir=DIR, or hydra.sweep.dir=DIR for a sweep."
        )
    made = made.absolute() if is_shared else made
    if made != folder:
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
    raise SystemExit(_USER_ERROR)


def _make_new(folder: Path) -> Path:
    """Make a folder that was not there: `folder`, or with -1, -2, ... behind its name."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(1))
    for path in chain([folder], numbered):
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            break
    return path


@cache
def _load_run(job: str) -> Callable[[DictConfig], Any]:
    """Import the function that runs a job."""
    run: Callable[[DictConfig], Any] = importlib.import_module(job).run
    gc.freeze()  # looking for garbage among half a million objects of modules takes 0.2 s
    return run


def _require_values(cfg: DictConfig) -> None:
    """Name all keys that must be set and are not.

    Raises:
        ConfigError: If there are any.
    """
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        msg = f"Set {' and '.join(f'{key}=...' for key in missing)}; --help explains."
        raise ConfigError(msg)


def _record(exit_code: int, *, was_finished: bool) -> None:
    """Write down what became of this job of a sweep."""
    hydra_cfg = HydraConfig.get()
    job = SweepJob(
        hydra_cfg.job.num,
        hydra_cfg.runtime.output_dir,
        list(hydra_cfg.overrides.task),
        exit_code,
        was_finished,
    )
    try:
        record_job(Path(hydra_cfg.sweep.dir), job)
    except OSError as error:
        log.error("The table will lack this job: %s cannot be written.", error.filename)


def _failure(cfg: DictConfig, error: Exception) -> dict[str, Any]:
    """What a sweep's table says of a failed job."""
    keys = ("dataset.category", "dataset.root")
    names = (OmegaConf.select(cfg, key, throw_on_missing=False) for key in keys)
    category = next((name for name in names if name), None)
    return {"category": str(category), "error": f"{type(error).__name__}: {error}"}
