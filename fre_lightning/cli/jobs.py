"""The jobs of a command, in its own process or wherever a launcher brings them."""

import contextlib
import gc
import importlib
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fre_lightning.cli.workers import end_with_parent, is_divided, needs_workers, run_workers
from fre_lightning.errors import ConfigError, FREError, Stops, explaining_full_disks
from fre_lightning.files import print_any_name
from fre_lightning.rank import is_first
from fre_lightning.results.sweep_jobs import SweepJob, record_job

log = logging.getLogger(__name__)

# Our files of hydra/launcher have the names of the plugins' own, whose keys and types they obey.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/.*' is validated against")

PROGRAM_ERROR = 1
USER_ERROR = 2


@dataclass
class Command:
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

    command: ClassVar[Command | None] = None

    def __init__(self, module: str) -> None:
        self._module = module

    def __call__(self, cfg: DictConfig) -> Any:
        """Run a job.

        Returns:
            What its `run` returns; or of a job that failed its category and its error.
        """
        print_any_name()
        end_with_parent()
        if is_divided(cfg) and not is_first():
            _mute()
        is_sweep, exit_code = HydraConfig.get().mode == RunMode.MULTIRUN, 0
        try:
            _require_values(cfg)
            starts_workers = needs_workers(cfg)
            run = run_workers if starts_workers else _load_run(self._module)
            stops = self.command.stops.work() if self.command else contextlib.nullcontext()
            with stops, explaining_full_disks():
                value = run(cfg)
            if starts_workers:
                exit_code, value = value, {}
        except FREError as error:
            log.error("%s", error)
            exit_code, value = USER_ERROR, _failure(cfg, error)
        except Exception as error:
            if not is_sweep:
                raise
            log.exception("This job failed; the sweep goes on.")
            exit_code, value = PROGRAM_ERROR, _failure(cfg, error)
        if exit_code and self.command and not is_sweep:
            self.command.exit_codes.append(exit_code)
        if is_sweep:
            _record(exit_code, was_finished=isinstance(value, dict) and "was_finished" in value)
        return value


def _mute() -> None:
    """Let one of several processes say only what the first doesn't know."""
    logging.disable(logging.INFO)
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: record.name.startswith("fre_lightning.images"))


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
