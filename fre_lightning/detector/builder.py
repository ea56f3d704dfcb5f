"""Objects from configuration: the only place that instantiates."""

from pathlib import Path

import pytorch_lightning as pl
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from fre_lightning.backbones import Backbone
from fre_lightning.config import build
from fre_lightning.detector.checkpoint import DETECTOR_GROUPS, Checkpoint
from fre_lightning.detector.layer import Branch
from fre_lightning.errors import ConfigError
from fre_lightning.experiment.module import FREModule
from fre_lightning.features.standardizer import ChannelStandardizer
from fre_lightning.images.tiling import Tiling


def build_module(cfg: DictConfig, checkpoint: Checkpoint | None = None) -> FREModule:
    """The module that a configuration describes, with its weights; fitted if from a checkpoint."""
    detector = {
        group: OmegaConf.to_container(cfg[group], resolve=True) for group in DETECTOR_GROUPS
    }
    backbone: Backbone = build(cfg.model)
    if "paths" in cfg:  # a checkpoint's configuration knows of none
        for part in backbone.parts:
            part.cache_dir = Path(cfg.paths.cache_dir).expanduser()
    tiling: Tiling = build(cfg.tiling)
    branches = [
        Branch(
            ChannelStandardizer(part.compression),
            [build(cfg.reducer) for _ in range(tiling.n_subspaces)],
            tiling,
        )
        for part in backbone.parts
        for _ in part.layers
    ]
    scoring, calibration = build(cfg.scoring), build(cfg.calibration)
    module = FREModule(backbone, branches, scoring, calibration, tiling, detector)
    if checkpoint:
        module.load_state_dict(checkpoint.state_dict)
        module.n_train = checkpoint.n_train
    else:
        backbone.load_weights()
    return module.eval()


def make_trainer(cfg: DictConfig) -> pl.Trainer:
    """The trainer of a run: it extracts, fits and tests, on one device.

    Raises:
        ConfigError: If it cannot be made, or would use several devices.
    """
    loggers, callbacks = (list(build(cfg[group]).values()) for group in ("logger", "callbacks"))
    try:
        trainer: pl.Trainer = build(
            cfg.trainer,
            logger=loggers,
            callbacks=callbacks,
            default_root_dir=cfg.paths.output_dir,
        )
    except InstantiationException as error:
        msg = f"The trainer cannot be made: {error.__cause__ or error}. Try trainer=auto."
        raise ConfigError(msg) from error
    if trainer.world_size > 1:
        msg = (
            f"trainer.devices={cfg.trainer.devices}: FRE runs on one device. Lightning would start "
            "this command again for each of them, a sweep included, and a fit takes seconds. "
            "Run several sweeps with CUDA_VISIBLE_DEVICES instead; they share the feature cache."
        )
        raise ConfigError(msg)
    return trainer
