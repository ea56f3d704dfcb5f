"""The exact subspace of fewer images than features, by their Gram matrix."""

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
class GramSubspace:
    """All principal axes of `(N, D)` features, D > N, as weights over the images.

    The axes would be another `(N, D)` matrix. They are linear combinations of the centred features.
    In float64: float32 would lose the small eigenvalues.

    Attributes:
        features: The features; `lift` reads them again.
        mean: `(D,)` float64.
        variances: `(r,)` float64, see `Subspace`; those that are rounding errors are left out.
        basis: `(N, r)` float64, left singular vectors.
        gram: `(N, N)` float64, of the centred features.
        left_out: 0, as there are all axes.
    """

    features: FeatureMatrix
    mean: Tensor
    variances: Tensor
    basis: Tensor
    gram: Tensor
    left_out: ClassVar[float] = 0.0

    @classmethod
    def of(cls, features: FeatureMatrix, device: torch.device) -> "GramSubspace":
        """Solve for features; raises a FeatureError if they do not vary."""
        n_samples, n_features = features.shape
        upper = torch.zeros(n_samples, n_samples, dtype=torch.float64, device=device)
        mean = torch.zeros(n_features, dtype=torch.float64, device=device)
        for columns, block in features.column_blocks(shared=True):
            values = block.to(device).double()
            mean[columns] = values.mean(dim=0)
            values -= mean[columns]
            add_product(upper, values)
        upper = add_up(upper)
        gram = upper.triu() + upper.triu(1).T
        variances, basis = tensors_from_first(lambda: principal_axes(gram, n_samples), device)
        return cls(features, add_up(mean), variances, basis, gram)

    @property
    def _singular_values(self) -> Tensor:
        return (self.variances * (self.features.shape[0] - 1)).sqrt()

    def coordinates(self) -> Tensor:
        """See `Subspace`; float64."""
        return self.basis * self._singular_values

    def lift(self, weights: Tensor) -> Tensor:
        """See `Subspace`."""
        combinations = (weights.to(self.basis) / self._singular_values) @ self.basis.T  # (k, N)
        lifted = torch.zeros(len(weights), len(self.mean), device=self.basis.device)
        for columns, block in self.features.column_blocks(shared=True):
            centred = block.to(self.basis).sub_(self.mean[columns])
            lifted[:, columns] = (combinations @ centred).float()
        return add_up(lifted)

    def held_out_blocks(
        self, n_components: float, folds: Tensor, n_scored: int
    ) -> Iterator[tuple[Tensor | slice, slice, Tensor]]:
        """See `Subspace`; blocks of columns of all scored images.

        Residuals are combinations of images: one (N, N) by (N, D) product gives all of them.
        """
        scored = folds[:n_scored]
        combinations = torch.zeros_like(self.gram[:n_scored])
        for fold in share(torch.unique(scored).tolist()):
            kept, from_mean, axes, coordinates = self._refit(folds == fold, n_components, n_scored)
            from_mean[:, kept] -= _centre((coordinates @ axes.T).T).T
            combinations[scored == fold] = from_mean
        combinations = add_up(combinations)
        for columns, block in self.features.column_blocks(shared=True):
            centred = block.to(combinations.device) - block.mean(dim=0)
            yield slice(None), columns, combinations.float() @ centred

    def held_out_coordinates(self, folds: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Subspace`."""
        for fold in torch.unique(folds):
            _, from_mean, _, coordinates = self._refit(folds == fold)
            total = (from_mean @ self.gram * from_mean).sum(dim=1)
            yield (folds == fold).nonzero()[:, 0], total, coordinates

    def _refit(
        self, is_held_out: Tensor, n_components: float | None = None, n_scored: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The subspace of the kept images, as weights over images.

        The Gram matrix of some images is a part of that of all.

        Returns:
            The indices of the kept images, `(n_kept,)`; weights `(n_held_out, N)` that give each
            held-out image (of the first `n_scored`) minus their mean; weights `(n_kept, r)` over
            the centred kept images that give the axes; and the held-out images' coordinates along
            them, `(n_held_out, r)`.
        """
        gram = self.gram
        held_out, kept = is_held_out[:n_scored].nonzero()[:, 0], (~is_held_out).nonzero()[:, 0]
        from_mean = gram.new_zeros(len(held_out), len(gram))
        from_mean[:, kept] = -1 / len(kept)
        from_mean[torch.arange(len(held_out)), held_out] = 1.0
        kept_gram = _centre(_centre(gram[kept][:, kept]).T)
        variances, basis = leading_axes(kept_gram, len(kept), n_components)
        axes = basis / (variances * (len(kept) - 1)).sqrt()
        return kept, from_mean, axes, _centre((from_mean @ gram[:, kept]).T).T @ axes


def _centre(columns: Tensor) -> Tensor:
    """Subtract the mean of each column of `(n, m)`."""
    return columns - columns.mean(dim=0)
