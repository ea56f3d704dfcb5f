"""The leading axes of many images and features, by a randomised block Krylov method.

From directions P and their products with the scatter matrix S, the axes are those of Nystroem's
approximation of S, S P' (P S P')^-1 P S, which is a power step more accurate than the span of P.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fre_lightning.collective import add_up, from_first, share
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.axes import limited_rank, principal_axes
from fre_lightning.reducers.krylov_space import LEAST, READ_BYTES, Centred, Span, find_span
from fre_lightning.reducers.memory import release
from fre_lightning.reducers.products import project, squares_of

_RIDGE = 1e-5
"""Added where a direction has no variance but that of images that are held out."""


@dataclass(frozen=True)
class KrylovSubspace:
    """The leading principal axes of `(N, D)` features, in float32.

    A refit for held-out images takes their part out of the products of the directions with the
    scatter matrix, exactly. It reads these images alone: all folds together take one pass. But the
    directions know the images, so that residuals are too short, by the same part in all folds. The
    first fold is solved on its own, too, and tells this part.

    Attributes:
        features: The features; `coordinates` reads them again.
        mean: `(D,)` float64.
        variances: `(r,)` float64, see `Subspace`.
        left_out: The variance outside of the span.
        span: The directions.
        rotation: `(l, r)` float32, weights of the axes over the products of the directions.
    """

    features: FeatureMatrix
    mean: Tensor
    variances: Tensor
    left_out: float
    span: Span
    rotation: Tensor

    @classmethod
    def of(
        cls,
        features: FeatureMatrix,
        device: torch.device,
        n_components: float,
        kept: Tensor | None = None,
    ) -> "KrylovSubspace":
        """Find as many axes as are wanted, and some more.

        Args:
            features: `(N, D)`.
            device: Where to compute.
            n_components: The wanted share of the variance, or number of axes.
            kept: `(N,)` bool, the images to learn from; None: all.

        Raises:
            As `find_span`.
        """
        data = Centred(features, device, kept)
        span = find_span(data, n_components)
        overlap = torch.eye(len(span.scales), device=device)
        variances, rotation = _nystrom(span.squares(), overlap, data.n_rows)
        left_out = max(span.total / (data.n_rows - 1) - float(variances.sum()), 0.0)
        return cls(features, data.mean, variances, left_out, span, rotation)

    def coordinates(self) -> Tensor:
        """See `Subspace`; float32."""
        axes = self.lift(torch.eye(len(self.variances)))
        data = Centred(self.features, self.mean.device, mean=self.mean)
        coordinates = torch.zeros(self.features.shape[0], len(axes), device=self.mean.device)
        for rows, values in data.blocks():
            coordinates[rows] = project(values, axes)
        return add_up(coordinates)

    def lift(self, weights: Tensor) -> Tensor:
        """See `Subspace`."""
        return self.span.combine(weights.to(self.rotation) @ self.rotation.T)

    def held_out_blocks(
        self, n_components: float, folds: Tensor, n_scored: int
    ) -> Iterator[tuple[Tensor | slice, slice, Tensor]]:
        """See `Subspace`; blocks of images."""
        is_scored = torch.arange(len(folds)) < n_scored
        numbers = torch.unique(folds[:n_scored]).tolist()
        stretch = self._stretch(n_components, folds == numbers[0])
        for fold in share(numbers):
            mean, axes = self._refit(n_components, folds == fold)
            chosen = (folds == fold) & is_scored
            for index, values in self.features.rows_of(chosen, mean, READ_BYTES):
                yield index, slice(None), _residual(values.float(), axes).mul_(stretch)

    def held_out_coordinates(self, folds: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Subspace`; as many axes as reach the share of the variance that these have."""
        total = float(self.variances.sum()) + self.left_out
        for fold in torch.unique(folds):
            mean, axes = self._refit(1 - self.left_out / total, folds == fold)
            for index, rows in self.features.rows_of(folds == fold, mean, READ_BYTES):
                values = rows.float()
                yield index, values.square().sum(dim=1).double(), project(values, axes).double()

    def _stretch(self, n_components: float, is_held_out: Tensor) -> float:
        """By how much residuals under refits are too short."""

        def square(mean: Tensor, axes: Tensor) -> float:
            blocks = self.features.rows_of(is_held_out, mean, READ_BYTES)
            return sum(float(_residual(rows.float(), axes).square().sum()) for _, rows in blocks)

        def refit() -> tuple[float, int]:
            mean, axes = self._refit(n_components, is_held_out)
            return square(mean, axes), len(axes)

        # Their own solution comes second: both at once would take the most memory of all.
        short, rank = from_first(refit)
        own = KrylovSubspace.of(self.features, self.mean.device, n_components, ~is_held_out)
        rank = min(rank, len(own.variances))  # one axis is more than the difference
        weights = torch.eye(rank, len(own.variances))
        full = from_first(lambda: square(own.mean, own.lift(weights)))
        return float((full / short) ** 0.5) if short > 0 else 1.0

    def _refit(self, n_components: float, is_held_out: Tensor) -> tuple[Tensor, Tensor]:
        """The mean `(D,)` and axes `(k, D)` of the kept images: a fold is subtracted."""
        release()
        directions, n_kept = self.span.directions, int((~is_held_out).sum())
        products, left = self.span.products(), self.span.total
        overlap = torch.eye(len(directions), device=self.mean.device)
        total = torch.zeros_like(self.mean)
        for _, rows in self.features.rows_of(is_held_out, self.mean, READ_BYTES):
            values = rows.float()
            coordinates = project(values, directions)
            overlap -= coordinates.T @ coordinates
            products.addmm_(coordinates.T, values, alpha=-1)
            total += rows.sum(dim=0)
            left -= float(values.square().sum(dim=1).double().sum())
        shift = -total / n_kept  # from the mean of all images to that of the kept ones
        along = directions @ shift.float()
        overlap.addr_(along, along, alpha=-n_kept)
        products.addr_(along, shift.float(), alpha=-n_kept)
        left -= n_kept * float(shift @ shift)
        variances, rotation = _nystrom(squares_of(products), overlap, n_kept)
        left_out = max(left / (n_kept - 1) - float(variances.sum()), 0.0)
        rank = limited_rank(n_components, variances, left_out)
        return self.mean + shift, rotation[:, :rank].T @ products


def _nystrom(squares: Tensor, overlap: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """The axes of the approximation of a scatter matrix S by what it does to directions P.

    Args:
        squares: P S (P S)', `(l, l)` float32.
        overlap: P S P', `(l, l)` float32; changed.
        n_rows: The number of images behind S.

    Returns:
        The variances along the axes `(r,)` float64, descending, and weights `(l, r)` float32 of the
        axes over P S.

    Raises:
        FeatureError: If the images do not vary.
    """
    overlap.mul_(1 - _RIDGE).diagonal().add_(_RIDGE)
    root = torch.linalg.cholesky(overlap)
    for _ in range(2):
        squares = torch.linalg.solve_triangular(root, squares, upper=False).T
    variances, axes = principal_axes(squares, n_rows)
    is_found = variances > LEAST * variances[0]
    variances, axes = variances[is_found], axes[:, is_found]
    axes /= (variances * (n_rows - 1)).sqrt()
    weights = torch.linalg.solve_triangular(root.T, axes, upper=True)
    return variances.double(), weights.float()


def _residual(values: Tensor, axes: Tensor) -> Tensor:
    """What axes `(k, D)` leave of centred features `(n, D)`."""
    return values - project(values, axes) @ axes
