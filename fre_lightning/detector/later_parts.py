"""What a fitted model learns from later good parts, without the images that it was fitted on."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fre_lightning.detector.model import FREModel
from fre_lightning.errors import CheckpointError, ConfigError, DatasetError
from fre_lightning.reducers import PCA
from fre_lightning.scoring.calibration import MIN_IMAGES


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


def update(model: FREModel, batches: Iterable[Sequence[Tensor]], *, replace_scores: bool) -> None:
    """Learn later good images as if they had been among the first, and calibrate anew.

    Args:
        model: Is changed.
        batches: Features `(n, T, C, h, w)` of each layer, of good images.
        replace_scores: Whether thresholds come from the later images alone, or from the held-out
            scores of all. Those of the earlier ones are as they were: their images are not there.

    Raises:
        ConfigError: If the model is an autoencoder.
        CheckpointError: If it comes from a checkpoint that does not hold what this takes.
        DatasetError: If there are fewer than three images.
    """
    _check_updatable(model)
    layers = _join(list(batches))
    if len(layers[0]) < MIN_IMAGES:
        msg = f"An update takes at least {MIN_IMAGES} good images; there are {len(layers[0])}."
        raise DatasetError(msg)
    held_out = model.update(layers)
    if replace_scores or not len(model.calibration.image_scores):
        model.calibration.refit(held_out, model.scoring)
    else:
        model.calibration.extend(held_out, model.scoring)


def _check_updatable(model: FREModel) -> None:
    if model.region is not None:
        msg = (
            "A detector with a region (dataset.roi) cannot be updated. Calibrate it on the later "
            "parts, or fit it again on all."
        )
        raise ConfigError(msg)
    for reducer in model.reducers:
        if not isinstance(reducer, PCA):
            msg = (
                f"A detector with reducer={reducer.name} cannot be updated: an autoencoder does "
                "not keep the variances of its images. Fit it with reducer=pca, its optimum."
            )
            raise ConfigError(msg)
        if not reducer.has_moments:
            msg = (
                "This checkpoint cannot be updated: it is of an earlier version, which did not "
                "store variances and counts. Fit it again."
            )
            raise CheckpointError(msg)


def _join(batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The batches of each layer as one tensor."""
    if not batches:
        msg = "There are no good images to learn from."
        raise DatasetError(msg)
    return [torch.cat(layer) for layer in zip(*batches, strict=True)]
