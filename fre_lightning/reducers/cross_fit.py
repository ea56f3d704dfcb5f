"""Held-out errors of training images: the subspace is refitted without each fold of them.

The images that a subspace was fitted on have far smaller errors than new ones. A refit does not
read the features again: the Gram matrix of some images is a part of that of all.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.subspace import Subspace, choose_rank, principal_axes


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
    if subspace.in_sample_space:
        # Residuals are combinations of images: one (N, N) by (N, D) product gives all of them.
        combinations = torch.zeros_like(subspace.scatter[: len(scored)])
        for fold in torch.unique(scored):
            kept, from_mean, axes, coordinates = _refit_gram(
                subspace, folds == fold, n_components, len(scored)
            )
            from_mean[:, kept] -= _centre((coordinates @ axes.T).T).T
            combinations[scored == fold] = from_mean
        for columns, block in subspace.features.column_blocks():
            residual = combinations.float() @ (block.to(combinations.device) - block.mean(dim=0))
            sums.index_add_(1, groups[columns], residual.square().double().cpu())
        return sums.float()
    is_scored = torch.arange(len(folds)) < len(scored)
    for fold in torch.unique(scored):
        mean, axes = _refit_scatter(subspace, folds == fold, n_components)
        for index, values in _rows_of(subspace.features, (folds == fold) & is_scored, mean):
            residual = values - values @ axes @ axes.T
            part = torch.zeros(len(index), sums.shape[1], dtype=torch.float64)
            sums[index] = part.index_add_(1, groups, residual.square().cpu())
    return sums.float()


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
    curves: list[tuple[Tensor, Tensor]] = []
    for fold in torch.unique(folds):
        if subspace.in_sample_space:
            _, from_mean, _, coordinates = _refit_gram(subspace, folds == fold)
            total = (from_mean @ subspace.scatter * from_mean).sum(dim=1)
            curves.append(((folds == fold).nonzero()[:, 0], _left_over(total, coordinates)))
            continue
        mean, axes = _refit_scatter(subspace, folds == fold)
        for index, values in _rows_of(subspace.features, folds == fold, mean):
            curves.append((index, _left_over(values.square().sum(dim=1), values @ axes)))
    n = min(curve.shape[1] for _, curve in curves)
    residuals = torch.empty(len(folds), n, dtype=torch.float64)
    for index, curve in curves:
        residuals[index] = curve[:, :n].cpu()
    return residuals


def _left_over(total: Tensor, coordinates: Tensor) -> Tensor:
    """Squared lengths `(n,)` minus the part that the first 0 to r axes explain, `(n, r + 1)`."""
    explained = torch.cat([total[:, None] * 0, coordinates.square().cumsum(dim=1)], dim=1)
    return (total[:, None] - explained).clamp(min=0)


def _centre(columns: Tensor) -> Tensor:
    """Subtract the mean of each column of `(n, m)`."""
    return columns - columns.mean(dim=0)


def _refit_gram(
    subspace: Subspace,
    is_held_out: Tensor,
    n_components: float | None = None,
    n_scored: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The subspace of the kept images, as weights over images.

    Returns:
        The indices of the kept images, `(n_kept,)`; weights `(n_held_out, N)` that give each
        held-out image (of the first `n_scored`) minus their mean; weights `(n_kept, r)` over the
        centred kept images that give the axes; and the held-out images' coordinates along them,
        `(n_held_out, r)`.
    """
    gram = subspace.scatter
    held_out, kept = is_held_out[:n_scored].nonzero()[:, 0], (~is_held_out).nonzero()[:, 0]
    from_mean = gram.new_zeros(len(held_out), len(gram))
    from_mean[:, kept] = -1 / len(kept)
    from_mean[torch.arange(len(held_out)), held_out] = 1.0
    kept_gram = _centre(_centre(gram[kept][:, kept]).T)
    variances, basis = _leading_axes(kept_gram, len(kept), n_components)
    axes = basis / (variances * (len(kept) - 1)).sqrt()
    return kept, from_mean, axes, _centre((from_mean @ gram[:, kept]).T).T @ axes


def _refit_scatter(
    subspace: Subspace, is_held_out: Tensor, n_components: float | None = None
) -> tuple[Tensor, Tensor]:
    """The mean `(D,)` and axes `(D, r)` of the kept images: the part of a fold is subtracted."""
    n_kept, mean = int((~is_held_out).sum()), subspace.mean
    scatter, total = subspace.scatter.clone(), torch.zeros_like(mean)
    for _, values in _rows_of(subspace.features, is_held_out, mean):
        total += values.sum(dim=0)
        scatter.addmm_(values.T, values, alpha=-1)
    shift = -total / n_kept  # from the mean of all images to that of the kept ones
    scatter -= n_kept * torch.outer(shift, shift)
    return mean + shift, _leading_axes(scatter, n_kept, n_components)[1]


def _leading_axes(
    scatter: Tensor, n_samples: int, n_components: float | None
) -> tuple[Tensor, Tensor]:
    """The first `n_components` of `principal_axes`, or as many as there are; None: all."""
    variances, axes = principal_axes(scatter, n_samples)
    if n_components is None:
        return variances, axes
    is_share = isinstance(n_components, float) and n_components < 1
    rank = choose_rank(n_components if is_share else min(n_components, len(variances)), variances)
    return variances[:rank], axes[:, :rank]


def _rows_of(
    features: FeatureMatrix, chosen: Tensor, mean: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over chosen rows, block by block: pairs of indices and features minus a mean."""
    for rows, block in features.row_blocks():
        inside = chosen[rows].nonzero()[:, 0]
        yield inside + rows.start, block[inside].to(mean.device).double() - mean
