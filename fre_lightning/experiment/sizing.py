"""The image size of a run, where that depends on the training images."""

import logging
from collections.abc import Sequence

from omegaconf import DictConfig

from fre_lightning.backbones import Backbone
from fre_lightning.config import build
from fre_lightning.errors import ConfigError
from fre_lightning.images.aspect import SQUARISH, common_ratio, size_of_ratio
from fre_lightning.images.header import Header
from fre_lightning.images.resizing import parse_image_size
from fre_lightning.images.tiling import Tiling

log = logging.getLogger(__name__)

ASPECTS = ("square", "keep")


def check_aspect(aspect: object) -> None:
    """Reject what is not one of `ASPECTS` with a `ConfigError`."""
    if aspect not in ASPECTS:
        msg = (
            f"aspect={aspect} is unknown; choose one of {', '.join(ASPECTS)}. For sides of your "
            "own set model.image_size=[height,width]."
        )
        raise ConfigError(msg)


def with_image_size(cfg: DictConfig, headers: Sequence[Header | None]) -> DictConfig:
    """The configuration with the image size that `aspect` asks for.

    With `keep`, one number of `model.image_size` stands for as many pixels as a square of that side
    has, in the common ratio of the training images. Two numbers stay as they are.

    Args:
        cfg: A run's.
        headers: Those of the training images, from `read_headers`.

    Raises:
        ConfigError: If there is no such `aspect`, or no such size.
    """
    check_aspect(cfg.aspect)
    several = cfg.model.get("backbones")  # of a combination, each with a size
    sides = [node.image_size for node in (several.values() if several else [cfg.model])]
    if cfg.aspect == "square" or not all(isinstance(side, int) for side in sides):
        return cfg
    tiling: Tiling = build(cfg.tiling)
    height, width = tiling.image_size(parse_image_size(sides[0]))  # of a grid of square tiles
    ratio = common_ratio([header.size for header in headers if header is not None])
    tile_ratio = ratio * width / height
    if max(tile_ratio, 1 / tile_ratio) <= SQUARISH:
        return cfg
    backbone: Backbone = build(cfg.model)
    size = size_of_ratio(tile_ratio, sides[0] ** 2, backbone.find_cell())
    log.info(
        "Training images are %.1f times as %s, and seen at %dx%d pixels (height x width), not "
        "%dx%d (aspect=%s)",
        max(ratio, 1 / ratio),
        "high as wide" if ratio > 1 else "wide as high",
        *tiling.image_size(size),
        height,
        width,
        cfg.aspect,
    )
    cfg = cfg.copy()
    for node in cfg.model.backbones.values() if several else [cfg.model]:
        node.image_size = list(size)
    return cfg
