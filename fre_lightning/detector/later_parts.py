"""What a fitted model learns from later good parts, without the images that it was fitted on."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fre_lightning.detector.model import FREModel
from fre_lightning.errors import CheckpointError, ConfigError, DatasetError
from fre_lightning.reducers import PCA
from fre_lightning.scoring.calibration import MIN_IMAGES

Batch = tuple[Sequence[Tensor], Sequence[Tensor] | None]
"""Features `(n, T, C, h, w)` of each layer, and the weights `(n, T, h, w)` of their cells if images
have regions of their own."""


def recalibrate(model: FREModel, batches: Iterable[Batch]) -> None:
    """Calibrate a model anew; its subspaces stay as they are.

    Args:
        model: Is changed.
        batches: Of good images.

    Raises:
        DatasetError: If there are too few images.
    """
    maps, weights = _join(
        [(model.layer_maps_of(layers, cells), model.lay_out(cells)) for layers, cells in batches]
    )
    model.calibration.refit(maps, model.scoring, weights)


def update(model: FREModel, batches: Iterable[Batch], *, replace_scores: bool) -> None:
    """Learn later good images as if they had been among the first, and calibrate anew.

    Args:
        model: Is changed.
        batches: Of good images.
        replace_scores: Whether thresholds come from the later images alone, or from the held-out
            scores of all. Those of the earlier ones are as they were: their images are not there.

    Raises:
        ConfigError: If the model is an autoencoder.
        CheckpointError: If it comes from a checkpoint that does not hold what this takes.
        DatasetError: If there are fewer than three images.
    """
    _check_updatable(model)
    layers, weights = _join(list(batches))
    if len(layers[0]) < MIN_IMAGES:
        msg = f"An update takes at least {MIN_IMAGES} good images; there are {len(layers[0])}."
        raise DatasetError(msg)
    held_out = model.update(layers, weights)
    replace_scores |= not len(model.calibration.image_scores)
    learn = model.calibration.refit if replace_scores else model.calibration.extend
    learn(held_out, model.scoring, model.lay_out(weights))


def _check_updatable(model: FREModel) -> None:
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


def _join(batches: Sequence[Batch]) -> tuple[list[Tensor], list[Tensor] | None]:
    """The batches of each layer as one tensor, and so their weights."""
    if not batches:
        msg = "There are no good images to learn from."
        raise DatasetError(msg)
    layers, weights = zip(*batches, strict=True)
    joined = [torch.cat(layer) for layer in zip(*layers, strict=True)]
    if weights[0] is None:
        return joined, None
    return joined, [torch.cat(layer) for layer in zip(*weights, strict=True)]
