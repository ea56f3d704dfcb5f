"""The number of components that a reducer keeps."""

import logging
import math

from fre_lightning.cross_fit import draw_folds, held_out_residuals
from fre_lightning.errors import ConfigError
from fre_lightning.subspace import Subspace, choose_rank

log = logging.getLogger(__name__)

HELD_OUT = "held_out"

_N_FOLDS = 4


def find_rank(n_components: float | str, subspace: Subspace) -> int:
    """The number of components that a setting stands for.

    Args:
        n_components: A share of the variance in (0, 1); or the number itself; or `held_out`, the
            least number of which held-out training images are reconstructed as well as at best,
            within one standard error (Breiman et al. 1984). It needs no defective images.
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
    n_samples = subspace.features.shape[0]
    if n_samples < 3:
        msg = f"reducer.n_components={HELD_OUT} takes at least 3 images, and there are {n_samples}."
        raise ConfigError(msg)
    residuals = held_out_residuals(subspace, draw_folds(n_samples, min(_N_FOLDS, n_samples)))
    mean = residuals.mean(dim=0)
    best = int(mean.argmin())
    # Of the difference, image by image: how well an image fares at all says nothing of the rank.
    excess = residuals - residuals[:, best : best + 1]
    error = excess.std(dim=0) / math.sqrt(n_samples)
    is_as_good = excess.mean(dim=0) <= error
    rank = max(int(is_as_good.nonzero()[0]), 1)
    log.info("Held-out images ask for %d components, and are best reconstructed by %d", rank, best)
    return rank
