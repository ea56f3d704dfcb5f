"""The command line of every command: Hydra composes a configuration, a job runs it.

Nothing heavy is imported before a job starts, so that `--help` and `--cfg job` answer at once.
"""

import gc
import importlib
import logging
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError, FREError
from fre_lightning.files import print_any_name

log = logging.getLogger(__name__)

_PROGRAM_ERROR = 1
_USER_ERROR = 2
_INTERRUPTED = 130  # what shells report of programs that Ctrl-C ends


def run_command(config_name: str, job: str) -> None:
    """Compose a configuration from the command line and run it.

    Exits with 2 after a user's mistake, which is told without a traceback and ends no sweep; with
    1 after an error of the program's own, and with 130 after Ctrl-C.

    Args:
        config_name: The primary configuration, in `configs/`.
        job: The module whose `run` is called with it; imported when the first job starts.
    """
    exit_codes: list[int] = []
    print_any_name()

    @hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name)
    def task(cfg: DictConfig) -> Any:
        try:
            _require_values(cfg)
            return _load_run(job)(cfg)
        except KeyboardInterrupt:
            log.error("Interrupted.")
            raise SystemExit(_INTERRUPTED) from None
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

    task()
    if exit_codes:
        sys.exit(min(exit_codes))


def main() -> None:
    """Run `python -m fre_lightning`."""
    run_command("config", "fre_lightning.experiment.job")


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
