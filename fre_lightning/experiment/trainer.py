"""Lightning's trainer, without the advice that is not for this program."""

import logging
import warnings
from typing import Any

import pytorch_lightning as pl
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from fre_lightning.config import build
from fre_lightning.errors import ConfigError
from fre_lightning.files import visible

log = logging.getLogger(__name__)

# Advice for programs that train networks; here these things are as intended.
for _message in (
    ".*configure_optimizers` returned `None`",
    "Couldn't infer the batch indices",
    "predict returned None",
    "Found .* module.* in eval mode",
    ".*isinstance.treespec, LeafSpec.* is deprecated",
    "The ``compute`` method of metric PixelMetrics was called before",
    ".*does not have many workers",
    "It is recommended to use .self.log.*sync_dist=True",
):
    warnings.filterwarnings("ignore", message=_message)
# Advice on devices and services; its import sets the level, so a YAML cannot.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch."""
    pl.seed_everything(seed, verbose=False)


def make_trainer(cfg: DictConfig, **own: Any) -> pl.Trainer:
    """The trainer of a run: it extracts, fits and tests, on one device.

    Args:
        cfg: The configuration of the run.
        own: Settings of this process if the run is divided, see `join_processes`.

    Raises:
        ConfigError: If it cannot be made, or would use several devices.
    """
    loggers, callbacks = _build_loggers(cfg.logger), list(build(cfg.callbacks).values())
    if visible(folder := str(cfg.paths.output_dir)) != folder:
        loggers = [logger for logger in loggers if not isinstance(logger, TensorBoardLogger)]
        log.warning("Without TensorBoard, which cannot write to a folder named %s.", folder)
    try:
        trainer: pl.Trainer = build(
            cfg.trainer,
            logger=loggers,
            callbacks=callbacks,
            default_root_dir=cfg.paths.output_dir,
            **own,
        )
    except InstantiationException as error:
        msg = f"The trainer cannot be made: {error.__cause__ or error}. Try trainer=auto."
        raise ConfigError(msg) from error
    if trainer.world_size > 1:
        msg = (
            f"trainer.devices={cfg.trainer.devices}: several devices divide a run of "
            "`python -m fre_lightning` alone, with trainer=ddp; everything else works on one."
        )
        raise ConfigError(msg)
    return trainer


def _build_loggers(node: DictConfig) -> list[Logger]:
    try:
        return list(build(node).values())
    except InstantiationException as error:
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise
        names = ",".join(map(str, node))
        msg = f'logger={names} needs a package: `pip install "fre-lightning[{names}]"`.'
        raise ConfigError(msg) from error
