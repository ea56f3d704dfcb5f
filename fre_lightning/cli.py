"""The command line of every command: Hydra composes a configuration, a job runs it.

Nothing heavy is imported before a job starts, so that `--help` and `--cfg job` answer at once.
"""

import contextlib
import gc
import importlib
import logging
import sys
from collections.abc import Callable
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override

from fre_lightning.arguments import mend, mend_arguments
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError, FREError, Stops
from fre_lightning.files import print_any_name

log = logging.getLogger(__name__)

_PROGRAM_ERROR = 1
_USER_ERROR = 2


def run_command(config_name: str, job: str) -> None:
    """Compose a configuration from the command line and run it.

    Exits with 2 after a user's mistake, which is told without a traceback and ends no sweep; with
    1 after an error of the program's own; with 130 after Ctrl-C and 143 after SIGTERM.

    Args:
        config_name: The primary configuration, in `configs/`.
        job: The module whose `run` is called with it; imported when the first job starts.
    """
    exit_codes: list[int] = []
    stops = Stops(in_order=False)
    print_any_name()

    @hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name)
    def task(cfg: DictConfig) -> Any:
        try:
            _require_values(cfg)
            run = _load_run(job)
            with stops.work():
                return run(cfg)
        except FREError as error:
            log.error("%s", error)
            exit_codes.append(_USER_ERROR)
            return _failure(cfg, error)
        except Exception as error:
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                raise
            log.exception("This job failed; the sweep goes on.")
            exit_codes.append(_PROGRAM_ERROR)
            return _failure(cfg, error)

    with stops:
        try:
            mend_arguments()
        except ConfigError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(_USER_ERROR)
        task()
    if exit_codes:
        sys.exit(min(exit_codes))


def main() -> None:
    """Run `python -m fre_lightning`."""
    run_command("config", "fre_lightning.experiment.job")


class OutputFolder(Callback):
    """A Hydra callback that makes the folder of a run or a sweep before the work."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Make the run's folder."""
        _make_folder(config, "run")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Make the sweep's folder."""
        _make_folder(config, "sweep")


def _make_folder(config: DictConfig, kind: str) -> None:
    """Make an output folder, or end the program: Hydra itself would print a traceback.

    A folder that is named by the second must be new: two commands may start in one second.
    """
    node = config.hydra[kind]
    folder, is_new = Path(node.dir), "%S" in OmegaConf.to_yaml(node)
    try:
        made = _make_new(folder) if is_new else folder
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.stderr.write(
            f"The output folder {folder} cannot be made ({error.strerror}). Choose another with "
            "hydra.run.dir=DIR, or hydra.sweep.dir=DIR for a sweep.\n"
        )
        raise SystemExit(_USER_ERROR) from error
    if made != folder:
        with flag_override(config, ["readonly", "struct"], [False, False]):
            node.dir = str(made)
            # A sweep's jobs are composed anew, from these.
            config.hydra.overrides.hydra.append(mend(f"hydra.{kind}.dir={made}"))


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


def _failure(cfg: DictConfig, error: Exception) -> dict[str, Any]:
    """What a sweep's table says of a failed job."""
    keys = ("dataset.category", "dataset.root")
    names = (OmegaConf.select(cfg, key, throw_on_missing=False) for key in keys)
    category = next((name for name in names if name), None)
    return {"category": str(category), "error": f"{type(error).__name__}: {error}"}
