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
    return torch.empty(n_samples, dtype=torch.int64).scatter_(
        0, order, torch.arange(n_samples) % n_folds
    )


@torch.no_grad()
def held_out_error_maps(
    subspace: Subspace, n_components: float, feature_shape: tuple[int, int, int], folds: Tensor
) -> Tensor:
    """Error map of each training image under the subspace of the images of the other folds.

    Args:
        subspace: The subspace of all `(N, D)` training features.
        n_components: A share of the variance, or a number; a refit of lower rank takes its rank.
        feature_shape: `(C, h, w)` with C * h * w = D.
        folds: `(N,)` int64, the fold of each image.

    Returns:
        `(N, h, w)` float32, on the CPU.

    Raises:
        FeatureError: If the images of the other folds do not vary.
        ConfigError: If `n_components` is neither a share nor a number.
    """
    _, height, width = feature_shape
    positions = torch.arange(subspace.features.shape[1]) % (height * width)
    return _squared_errors(subspace, n_components, positions, folds).view(-1, height, width)


@torch.no_grad()
def held_out_channel_errors(
    subspace: Subspace, n_components: float, n_channels: int, folds: Tensor
) -> Tensor:
    """Squared error of each channel, `(C,)` float32: the mean over images and positions.

    Arguments and errors are those of `held_out_error_maps`.
    """
    n_positions = subspace.features.shape[1] // n_channels
    channels = torch.arange(subspace.features.shape[1]) // n_positions
    return _squared_errors(subspace, n_components, channels, folds).mean(dim=0) / n_positions


def _squared_errors(
    subspace: Subspace, n_components: float, groups: Tensor, folds: Tensor
) -> Tensor:
    """Sums over groups of columns, `(N, G)` float32; `groups` `(D,)` is the group of each."""
    refit = _in_sample_space if subspace.in_sample_space else _in_feature_space
    return refit(subspace, n_components, groups, folds)


def _in_sample_space(
    subspace: Subspace, n_components: float, groups: Tensor, folds: Tensor
) -> Tensor:
    """Residuals are combinations of images: one `(N, N)` by `(N, D)` product gives all of them."""
    combinations = torch.zeros_like(subspace.scatter)
    for fold in torch.unique(folds):
        held_out, kept = (folds == fold).nonzero()[:, 0], (folds != fold).nonzero()[:, 0]
        combinations[held_out] = _residual_combinations(
            subspace.scatter, kept, held_out, n_components
        )
    sums = torch.zeros(len(folds), int(groups.max()) + 1, dtype=torch.float64)
    for columns, block in subspace.features.column_blocks():
        residual = combinations.float() @ (block.to(combinations.device) - block.mean(dim=0))
        sums.index_add_(1, groups[columns], residual.square().double().cpu())
    return sums.float()


def _residual_combinations(
    gram: Tensor, kept: Tensor, held_out: Tensor, n_components: float
) -> Tensor:
    """Weights over all images that give the residuals of the held-out ones, `(n_held_out, N)`."""
    from_mean, scaled, variances = _refit(gram, kept, held_out)
    scaled = scaled[:, : _rank(n_components, variances)]
    coordinates = _centre((from_mean @ gram[:, kept]).T).T @ scaled
    combinations = from_mean
    combinations[:, kept] -= _centre((coordinates @ scaled.T).T).T
    return combinations


def _refit(gram: Tensor, kept: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The subspace of the kept images, as weights over images.

    Returns:
        Weights `(n_held_out, N)` that give each held-out image minus the mean of the kept ones;
        weights `(n_kept, r)` over the centred kept images that give the axes; and the variances
        along the axes, `(r,)`.
    """
    from_mean = torch.zeros(len(held_out), len(gram), dtype=gram.dtype, device=gram.device)
    from_mean[:, kept] = -1 / len(kept)
    from_mean[torch.arange(len(held_out)), held_out] = 1.0
    variances, basis = principal_axes(_centre(_centre(gram[kept][:, kept]).T), len(kept))
    return from_mean, basis / (variances * (len(kept) - 1)).sqrt(), variances


def _rank(n_components: float, variances: Tensor) -> int:
    is_share = isinstance(n_components, float) and n_components < 1
    return choose_rank(n_components if is_share else min(n_components, len(variances)), variances)


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
        held_out, kept = (folds == fold).nonzero()[:, 0], (folds != fold).nonzero()[:, 0]
        if subspace.in_sample_space:
            gram = subspace.scatter
            from_mean, scaled, _ = _refit(gram, kept, held_out)
            total = (from_mean @ gram * from_mean).sum(dim=1)
            coordinates = _centre((from_mean @ gram[:, kept]).T).T @ scaled
            curves.append((held_out, _left_over(total, coordinates)))
            continue
        shift, axes, _ = _refit_features(subspace, folds == fold)
        for index, rows in _rows_of(subspace.features, folds == fold):
            values = rows.to(axes.device).double() - subspace.mean - shift
            curves.append((index, _left_over(values.square().sum(dim=1), values @ axes)))
    n = min(curve.shape[1] for _, curve in curves)
    residuals = torch.empty(len(folds), n, dtype=torch.float64)
    for index, curve in curves:
        residuals[index.cpu()] = curve[:, :n].cpu()
    return residuals


def _left_over(total: Tensor, coordinates: Tensor) -> Tensor:
    """Squared lengths `(n,)` minus the part that the first 0 to r axes explain, `(n, r + 1)`."""
    explained = torch.cat([total[:, None] * 0, coordinates.square().cumsum(dim=1)], dim=1)
    return (total[:, None] - explained).clamp(min=0)


def _centre(columns: Tensor) -> Tensor:
    """Subtract the mean of each column of `(n, m)`."""
    return columns - columns.mean(dim=0)


def _in_feature_space(
    subspace: Subspace, n_components: float, groups: Tensor, folds: Tensor
) -> Tensor:
    """Refits subtract the part of a fold from the `(D, D)` scatter matrix."""
    sums = torch.zeros(len(folds), int(groups.max()) + 1, dtype=torch.float64)
    for fold in torch.unique(folds):
        shift, axes, variances = _refit_features(subspace, folds == fold)
        axes = axes[:, : _rank(n_components, variances)]
        for index, rows in _rows_of(subspace.features, folds == fold):
            values = rows.to(axes.device).double() - subspace.mean - shift
            residual = values - values @ axes @ axes.T
            part = torch.zeros(len(index), sums.shape[1], dtype=torch.float64)
            sums[index] = part.index_add_(1, groups, residual.square().cpu())
    return sums.float()


def _refit_features(subspace: Subspace, is_held_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The subspace without some images: shift of the mean, axes `(D, r)` and variances."""
    n_kept, mean = int((~is_held_out).sum()), subspace.mean
    scatter, total = subspace.scatter.clone(), torch.zeros_like(mean)
    for _, rows in _rows_of(subspace.features, is_held_out):
        values = rows.to(scatter.device).double() - mean
        total += values.sum(dim=0)
        scatter.addmm_(values.T, values, alpha=-1)
    shift = -total / n_kept  # from the mean of all images to that of the kept ones
    scatter -= n_kept * torch.outer(shift, shift)
    variances, axes = principal_axes(scatter, n_kept)
    return shift, axes, variances


def _rows_of(features: FeatureMatrix, chosen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over chosen rows, block by block: pairs of their indices and features."""
    for rows, block in features.row_blocks():
        inside = chosen[rows].nonzero()[:, 0]
        yield inside + rows.start, block[inside]
