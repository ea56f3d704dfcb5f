"""What a fitted model learns from later good parts, without the images that it was fitted on."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fre_lightning.detector.model import FREModel
from fre_lightning.errors import DatasetError


def recalibrate(model: FREModel, batches: Iterable[Sequence[Tensor]]) -> None:
    """Calibrate a model anew; its subspaces stay as they are.

    Args:
        model: Is changed.
        batches: Features `(n, T, C, h, w)` of each layer, of good images.

    Raises:
        DatasetError: If there are too few images.
    """
    maps = [model.layer_maps_of(layers) for layers in batches]
    model.calibration.refit(_join(maps), model.scoring)


def _join(batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The batches of each layer as one tensor."""
    if not batches:
        msg = "There are no good images to learn from."
        raise DatasetError(msg)
    return [torch.cat(layer) for layer in zip(*batches, strict=True)]
