"""The exact subspace of at least as many images as features, by their scatter matrix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fre_lightning.collective import add_up, share, tensors_from_first
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.axes import leading_axes, principal_axes
from fre_lightning.reducers.products import add_product


@dataclass(frozen=True)
class ScatterSubspace:
    """All principal axes of `(N, D)` features, N >= D, in float64.

    Attributes:
        features: The features; `coordinates` reads them again.
        mean: `(D,)` float64.
        variances: `(r,)` float64, see `Subspace`; those that are rounding errors are left out.
        basis: `(D, r)` float64, the axes.
        scatter: `(D, D)` float64, of the centred features.
        left_out: 0, as there are all axes.
    """

    features: FeatureMatrix
    mean: Tensor
    variances: Tensor
    basis: Tensor
    scatter: Tensor
    left_out: ClassVar[float] = 0.0

    @classmethod
    def of(cls, features: FeatureMatrix, device: torch.device) -> "ScatterSubspace":
        """Solve for features; raises a FeatureError if they do not vary."""
        n_samples, n_features = features.shape
        upper = torch.zeros(n_features, n_features, dtype=torch.float64, device=device)
        total = torch.zeros(n_features, dtype=torch.float64, device=device)
        # A shift near the mean keeps squares small: subtracting the mean loses no precision.
        shift = features.block(slice(0, 256)).to(device).double().mean(dim=0)
        for _, rows in features.row_blocks(shared=True):
            values = rows.to(device).double() - shift
            total += values.sum(dim=0)
            add_product(upper, values.T)
        total = add_up(total)
        upper = add_up(upper) - torch.outer(total, total) / n_samples
        scatter = upper.triu() + upper.triu(1).T
        variances, basis = tensors_from_first(lambda: principal_axes(scatter, n_samples), device)
        return cls(features, shift + total / n_samples, variances, basis, scatter)

    def coordinates(self) -> Tensor:
        """See `Subspace`; float64."""
        blocks = (rows.to(self.basis).sub_(self.mean) for _, rows in self.features.row_blocks())
        return torch.cat([block @ self.basis for block in blocks])

    def lift(self, weights: Tensor) -> Tensor:
        """See `Subspace`."""
        return (weights.to(self.basis) @ self.basis.T).float()

    def held_out_blocks(
        self, n_components: float, folds: Tensor, n_scored: int
    ) -> Iterator[tuple[Tensor | slice, slice, Tensor]]:
        """See `Subspace`; blocks of images."""
        is_scored = torch.arange(len(folds)) < n_scored
        for fold in share(torch.unique(folds[:n_scored]).tolist()):
            mean, axes = self._refit(folds == fold, n_components)
            chosen = (folds == fold) & is_scored
            for index, values in self.features.rows_of(chosen, mean):
                yield index, slice(None), values - values @ axes @ axes.T

    def held_out_coordinates(self, folds: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Subspace`."""
        for fold in torch.unique(folds):
            mean, axes = self._refit(folds == fold)
            for index, values in self.features.rows_of(folds == fold, mean):
                yield index, values.square().sum(dim=1), values @ axes

    def _refit(
        self, is_held_out: Tensor, n_components: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """The mean `(D,)` and axes `(D, r)` of the kept images: a fold is subtracted."""
        n_kept, mean = int((~is_held_out).sum()), self.mean
        upper, total = torch.zeros_like(self.scatter), torch.zeros_like(mean)
        for _, values in self.features.rows_of(is_held_out, mean):
            total += values.sum(dim=0)
            add_product(upper, values.T)
        scatter = self.scatter - upper.triu() - upper.triu(1).T
        shift = -total / n_kept  # from the mean of all images to that of the kept ones
        scatter -= n_kept * torch.outer(shift, shift)
        return mean + shift, leading_axes(scatter, n_kept, n_components)[1]
