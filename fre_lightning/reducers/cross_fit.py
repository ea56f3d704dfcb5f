"""Held-out errors of training images: the subspace is refitted without each fold of them.

The images that a subspace was fitted on have far smaller errors than new ones.
"""

import torch
from torch import Tensor

from fre_lightning.collective import add_up
from fre_lightning.reducers.subspace import Subspace


def draw_folds(n_samples: int, n_folds: int, seed: int = 0) -> Tensor:
    """A random fold for each sample, all folds of equal size: `(N,)` int64 below `n_folds`."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(n_samples, generator=generator)
    return torch.empty_like(order).scatter_(0, order, torch.arange(n_samples) % n_folds)


@torch.no_grad()
def held_out_errors(
    subspace: Subspace,
    n_components: float,
    groups: Tensor,
    folds: Tensor,
    n_scored: int | None = None,
) -> Tensor:
    """Squared error of each training image under the subspace of the images of the other folds.

    Args:
        subspace: The subspace of all `(N, D)` training features.
        n_components: A share of the variance, or a number; a refit of lower rank takes its rank.
        groups: `(D,)` int64, a group from 0 to G - 1 of each feature, for example its position.
        folds: `(N,)` int64, the fold of each image.
        n_scored: The first so many images are scored: shifted copies, which come last, are only
            held out. None: all.

    Returns:
        `(n_scored, G)` float32 on the CPU, the sum over each group.

    Raises:
        FeatureError: If the images of the other folds do not vary.
        ConfigError: If `n_components` is neither a share nor a number.
    """
    scored = folds[:n_scored]
    sums = torch.zeros(len(scored), int(groups.max()) + 1, dtype=torch.float64)
    for rows, columns, residual in subspace.held_out_blocks(n_components, folds, len(scored)):
        part = sums[rows]
        part.index_add_(1, groups[columns], residual.square().double().cpu())
        sums[rows] = part
    return add_up(sums).float()


@torch.no_grad()
def held_out_residuals(subspace: Subspace, folds: Tensor) -> Tensor:
    """Held-out error of each training image for every number of components.

    Args:
        subspace: The subspace of all `(N, D)` training features.
        folds: `(N,)` int64, the fold of each image.

    Returns:
        `(N, r + 1)` float64, the sum of squared errors with 0, 1, ... r components, where r is the
        lowest rank of the refits.

    Raises:
        FeatureError: If the images of the other folds do not vary.
    """
    curves = [
        (rows, _left_over(total, coordinates))
        for rows, total, coordinates in subspace.held_out_coordinates(folds)
    ]
    n = min(curve.shape[1] for _, curve in curves)
    residuals = torch.empty(len(folds), n, dtype=torch.float64)
    for rows, curve in curves:
        residuals[rows] = curve[:, :n].cpu()
    return residuals


def _left_over(total: Tensor, coordinates: Tensor) -> Tensor:
    """Squared lengths `(n,)` minus the part that the first 0 to r axes explain, `(n, r + 1)`."""
    explained = torch.cat([total[:, None] * 0, coordinates.square().cumsum(dim=1)], dim=1)
    return (total[:, None] - explained).clamp(min=0)
