"""A model from a configuration, fitted if it comes from a checkpoint."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from fre_lightning.backbones import Backbone
from fre_lightning.config import build
from fre_lightning.detector.checkpoint import DETECTOR_GROUPS, Checkpoint
from fre_lightning.detector.layer import Branch
from fre_lightning.detector.model import FREModel
from fre_lightning.features.standardizer import ChannelStandardizer
from fre_lightning.images.tiling import Tiling


def detector_config(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration of a detector, as plain containers by group."""
    return {group: OmegaConf.to_container(cfg[group], resolve=True) for group in DETECTOR_GROUPS}


def build_model(cfg: DictConfig) -> FREModel:
    """Build an unfitted model from a configuration, with the backbone's weights.

    Raises:
        FREError: If a setting is out of range, or weights cannot be had.
    """
    model = _assemble(cfg, n_train=0)
    model.backbone.load_weights()
    return model.eval()


def restore_model(checkpoint: Checkpoint) -> FREModel:
    """Build the fitted model of a checkpoint.

    Raises:
        FREError: If a setting is out of range.
        RuntimeError: If its tensors do not fit its configuration.
    """
    model = _assemble(OmegaConf.create(dict(checkpoint.config)), checkpoint.n_train)
    model.load_state_dict(checkpoint.state_dict)
    model.intensity = checkpoint.intensity
    return model.eval()


def _assemble(cfg: DictConfig, n_train: int) -> FREModel:
    backbone: Backbone = build(cfg.model)
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
    return FREModel(backbone, branches, build(cfg.scoring), build(cfg.calibration), tiling, n_train)
