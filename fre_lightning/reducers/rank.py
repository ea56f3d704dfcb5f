"""The number of components that a reducer keeps."""

import logging
import math

import torch

from fre_lightning.errors import ConfigError
from fre_lightning.reducers.axes import choose_rank, is_share
from fre_lightning.reducers.cross_fit import draw_folds, held_out_residuals
from fre_lightning.reducers.subspace import Subspace

log = logging.getLogger(__name__)

MAX_FROM_COPIES = 200
"""Components at most that a share of the variance takes where there are shifted copies.

A share of 0.97 of the copies takes four times as many as there are images; the mean image AUROC of
six real sets is the same within 0.001 with 216, and checkpoints take a quarter of the space: below
60 MB for 300 images of 256x256 with scattering.
"""

_N_FOLDS = 4
_MIN_STANDARD_ERRORS = 2.0  # by which an axis must be better than chance


def find_rank(n_components: float | str, subspace: Subspace) -> int:
    """The number of components for a setting.

    Args:
        n_components: A share of the variance in (0, 1), by at most `MAX_FROM_COPIES` components
            where there are copies; or the number itself; or `held_out`: the
            leading components that explain more of held-out training images than chance does, as
            in parallel analysis (Horn 1965), without defective images.
        subspace: The subspace of the training features.

    Raises:
        ConfigError: If the setting is none of them, is more than the rank of the features, or is
            `held_out` with fewer than three images.
        FeatureError: If the images of the other folds do not vary.
    """
    n_copies = subspace.features.n_copies
    if n_components != "held_out":
        rank = choose_rank(n_components, subspace.variances, subspace.left_out)
        return min(rank, MAX_FROM_COPIES) if is_share(n_components) and n_copies > 1 else rank
    n_samples = subspace.features.shape[0] // n_copies
    if n_samples < 3:
        msg = f"reducer.n_components=held_out takes at least 3 images, and there are {n_samples}."
        raise ConfigError(msg)
    folds = draw_folds(n_samples, min(_N_FOLDS, n_samples)).repeat(n_copies)
    residuals = held_out_residuals(subspace, folds)
    n_axes = residuals.shape[1] - 1
    # Every axis lowers the residual. A signal lowers that of held-out images by more than a
    # random direction among the remaining ones does.
    n_left = subspace.features.shape[1] - torch.arange(n_axes)
    gain = -residuals.diff(dim=1) - residuals[:, :-1] / n_left
    is_signal = gain.mean(dim=0) > _MIN_STANDARD_ERRORS * gain.std(dim=0) / math.sqrt(n_samples)
    rank = max(int(is_signal.cumprod(dim=0).sum()), 1)
    log.info("Held-out images ask for %d of %d components", rank, n_axes)
    return rank


def rank_of_refits(n_components: float | str, rank: int, n_copies: int) -> float:
    """The setting for refits without a fold: the share itself, or the rank that it was cut to.

    Args:
        n_components: The setting of the fit.
        rank: The components that `find_rank` found for it.
        n_copies: Copies of each image that were learnt from, itself included.
    """
    was_cut = n_copies > 1 and rank == MAX_FROM_COPIES
    return rank if isinstance(n_components, str) or was_cut else n_components
