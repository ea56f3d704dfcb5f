"""The command line: Hydra composes a configuration, `experiment.run` runs it.

Nothing heavy is imported before a job starts, so that `--help` and `--cfg job` answer at once.
"""

import gc
import logging
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fre_lightning.errors import FREError

_PACKAGE_DIR = Path(__file__).resolve().parent
_BUNDLED = _PACKAGE_DIR / "configs"  # exists in an installed wheel only
CONFIG_DIR = _BUNDLED if _BUNDLED.is_dir() else _PACKAGE_DIR.parent / "configs"

log = logging.getLogger(__name__)


def _published(published: Any, other: Any, *, _root_: DictConfig) -> Any:
    """What `${published:a,b}` in a YAML means: a with `scoring=paper`, else b."""
    return published if _root_.scoring.name == "paper" else other


OmegaConf.register_new_resolver("published", _published, replace=True)

_USER_ERROR = 2
_PROGRAM_ERROR = 1
_exit_codes: list[int] = []


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="config")
def _task(cfg: DictConfig) -> dict[str, Any]:
    """Run one job. A user's mistake is told without a traceback and ends no sweep."""
    try:
        return _load_run()(cfg, wait=HydraConfig.get().mode != RunMode.MULTIRUN)
    except FREError as error:
        log.error("%s", error)
        return _failed(cfg, error, _USER_ERROR)
    except Exception as error:
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            raise
        log.exception("This job failed; the sweep goes on.")
        return _failed(cfg, error, _PROGRAM_ERROR)


@cache
def _load_run() -> Callable[..., dict[str, Any]]:
    """Import what runs a job."""
    from fre_lightning.experiment import run

    gc.freeze()  # looking for garbage among half a million objects of modules takes 0.2 s
    return run


def _failed(cfg: DictConfig, error: Exception, exit_code: int) -> dict[str, Any]:
    _exit_codes.append(exit_code)
    category = cfg.dataset.get("category") or cfg.dataset.get("root")
    return {"category": str(category), "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Run the command line; exit with 2 after a user's mistake, 1 after the program's own."""
    _exit_codes.clear()
    _task()
    if "fre_lightning.experiment.background" in sys.modules:  # a job has started
        sys.modules["fre_lightning.experiment.background"].wait()
    if _exit_codes:
        sys.exit(min(_exit_codes))
