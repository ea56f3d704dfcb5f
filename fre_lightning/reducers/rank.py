"""The number of components that a reducer keeps."""

import logging
import math

import torch

from fre_lightning.errors import ConfigError
from fre_lightning.reducers.cross_fit import draw_folds, held_out_residuals
from fre_lightning.reducers.subspace import Subspace, choose_rank

log = logging.getLogger(__name__)

HELD_OUT = "held_out"

_N_FOLDS = 4
_MIN_STANDARD_ERRORS = 2.0  # by how many standard errors an axis must be better than chance


def find_rank(n_components: float | str, subspace: Subspace) -> int:
    """The number of components that a setting stands for.

    Args:
        n_components: A share of the variance in (0, 1); or the number itself; or `held_out`: as
            many as explain more of held-out training images than chance does, in the manner of
            parallel analysis (Horn 1965). It needs no defective images.
        subspace: Of the training features.

    Raises:
        ConfigError: If it is none of them, or more than the features' rank.
        FeatureError: If there are fewer than three images to hold one of them out.
    """
    if n_components != HELD_OUT:
        if isinstance(n_components, str):
            msg = (
                f"reducer.n_components={n_components} is neither a share of the variance, nor a "
                f"number, nor {HELD_OUT}."
            )
            raise ConfigError(msg)
        return choose_rank(n_components, subspace.variances)
    n_copies = subspace.features.n_copies
    n_samples = subspace.features.shape[0] // n_copies
    if n_samples < 3:
        msg = f"reducer.n_components={HELD_OUT} takes at least 3 images, and there are {n_samples}."
        raise ConfigError(msg)
    folds = draw_folds(n_samples, min(_N_FOLDS, n_samples)).repeat(n_copies)
    residuals = held_out_residuals(subspace, folds)
    n_axes = residuals.shape[1] - 1
    # More axes always leave less. What counts is whether one explains more of images it has not
    # seen than a direction drawn at random from all that are left.
    n_left = subspace.features.shape[1] - torch.arange(n_axes)
    gain = -residuals.diff(dim=1) - residuals[:, :-1] / n_left
    is_signal = gain.mean(dim=0) > _MIN_STANDARD_ERRORS * gain.std(dim=0) / math.sqrt(n_samples)
    rank = max(int(is_signal.cumprod(dim=0).sum()), 1)
    log.info("Held-out images ask for %d of %d components", rank, n_axes)
    return rank
