"""What the commands beside training have in common; imports nothing heavy."""

import logging
import sys
from collections.abc import Callable

import hydra
from omegaconf import DictConfig, OmegaConf

from fre_lightning.cli import CONFIG_DIR
from fre_lightning.errors import ConfigError, FREError

log = logging.getLogger(__name__)

_USER_ERROR = 2
_INTERRUPTED = 130  # what shells report of programs that Ctrl-C ends


def run_command(config_name: str, run: Callable[[DictConfig], object]) -> None:
    """Compose a configuration from the command line and run it; exit with 2 after a mistake.

    Args:
        config_name: The primary configuration, in `configs/`.
        run: Called with it.
    """
    exit_codes: list[int] = []

    @hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name)
    def task(cfg: DictConfig) -> None:
        try:
            _require_values(cfg)
            run(cfg)
        except FREError as error:
            log.error("%s", error)
            exit_codes.append(_USER_ERROR)
        except KeyboardInterrupt:
            log.error("Interrupted.")
            exit_codes.append(_INTERRUPTED)

    task()
    if exit_codes:
        sys.exit(exit_codes[0])


def _require_values(cfg: DictConfig) -> None:
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        msg = f"Set {' and '.join(f'{key}=...' for key in missing)}; --help explains."
        raise ConfigError(msg)
