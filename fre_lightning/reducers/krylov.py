"""The leading axes of many images and features, by a randomised block Krylov method.

Halko, Martinsson and Tropp (2011); Musco and Musco (2015). Every block of directions takes one pass
over the features, and the total variance, the trace, says when there are enough. From the
directions P and their products with the scatter matrix S, the axes are those of the approximation
of S by Nyström, S P' (P S P')^-1 P S, which is a power step more accurate than their span. Memory
holds the directions and blocks of images, and grows with neither N nor N times D.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.collective import add_up, from_first, share, tensors_from_first
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.axes import (
    add_product,
    choose_rank,
    is_share,
    limited_rank,
    principal_axes,
)

_BLOCK = 256
"""Directions per pass. Fewer take more passes, more are less accurate."""

_READ_BYTES = 2**25
"""Of a block of images: with smaller ones products take 1.5 times as long."""

_MAX_MISSING = 0.5
"""The part of the variance that the wanted axes leave over which may lie outside the span."""

_LEAST = 1e-6
"""Variances below this part of the largest one are rounding errors of float32."""

_RIDGE = 1e-5
"""Added where a direction has no variance but that of images that are held out."""


@dataclass(frozen=True)
class _Span:
    """Directions P with P S P' = 1, where S is the scatter matrix of all images.

    Attributes:
        directions: P, `(l, D)` float32.
        scales: `(l,)` float32, see `products`.
        rest: `(b, D)` float32, what the products of the last block have outside of the span.
        coupling: `(l, b)` float32, the part of `rest` in the products of each direction.
        total: The trace of S.
    """

    directions: Tensor
    scales: Tensor
    rest: Tensor
    coupling: Tensor
    total: float

    def combine(self, weights: Tensor) -> Tensor:
        """Weights `(k, l)` times the products, which are not formed: `(k, D)`."""
        combined = (weights * self.scales) @ self.directions
        return combined.addmm_(weights @ self.coupling, self.rest)

    def products(self) -> Tensor:
        """P S, `(l, D)`; it takes no pass, as in a Krylov space they are combinations of P."""
        return (self.directions * self.scales[:, None]).addmm_(self.coupling, self.rest)


@dataclass(frozen=True)
class KrylovSubspace:
    """The leading principal axes of `(N, D)` features, in float32.

    A refit for held-out images takes their part out of the products of the directions with the
    scatter matrix, exactly. It reads these images alone: all folds together take one pass. The
    directions still know the images; the products tell which of them matter without.

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
    span: _Span
    rotation: Tensor

    @classmethod
    def of(
        cls, features: FeatureMatrix, device: torch.device, n_components: float
    ) -> "KrylovSubspace":
        """Find as many axes as are wanted, and some more.

        Args:
            features: `(N, D)`.
            device: Where to compute.
            n_components: The wanted share of the variance, or number of axes.

        Raises:
            FeatureError: If the features do not vary.
            ConfigError: If `n_components` is neither, or more than there can be axes.
        """
        n_rows, n_features = features.shape
        limit = min(n_rows - 1, n_features)
        choose_rank(n_components, torch.ones(limit))  # complains before the work, not after it
        max_missing, n_wanted = _LEAST, limit  # float32 finds no more
        if is_share(n_components):
            max_missing = max(_MAX_MISSING * (1 - n_components), max_missing)
        else:
            n_wanted = min(int(2 * n_components) + 2 * _BLOCK, limit)
        data = _Centred(features, device)
        span = _find_span(data, limit, n_wanted, max_missing)
        overlap = torch.eye(len(span.scales), dtype=torch.float64, device=device)
        variances, rotation = _nystrom(span.products(), overlap, n_rows)
        left_out = max(span.total / (n_rows - 1) - float(variances.sum()), 0.0)
        return cls(features, data.mean, variances, left_out, span, rotation)

    def coordinates(self) -> Tensor:
        """See `Subspace`; float32."""
        axes = self.lift(torch.eye(len(self.variances)))
        data = _Centred(self.features, self.mean.device, self.mean)
        coordinates = torch.zeros(self.features.shape[0], len(axes), device=self.mean.device)
        for rows, values in data.blocks():
            coordinates[rows] = values @ axes.T
        return add_up(coordinates)

    def lift(self, weights: Tensor) -> Tensor:
        """See `Subspace`."""
        return self.span.combine(weights.to(self.rotation) @ self.rotation.T)

    def held_out_blocks(
        self, n_components: float, folds: Tensor, n_scored: int
    ) -> Iterator[tuple[Tensor | slice, slice, Tensor]]:
        """See `Subspace`; blocks of images."""
        is_scored = torch.arange(len(folds)) < n_scored
        for fold in share(torch.unique(folds[:n_scored]).tolist()):
            chosen = (folds == fold) & is_scored
            for index, values, axes in self._held_out(n_components, folds == fold, chosen):
                yield index, slice(None), values - (values @ axes.T) @ axes

    def held_out_coordinates(self, folds: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Subspace`; as many axes as reach the share of the variance that these have."""
        share = float(self.variances.sum()) / (float(self.variances.sum()) + self.left_out)
        for fold in torch.unique(folds):
            for index, values, axes in self._held_out(share, folds == fold, folds == fold):
                yield index, values.square().sum(dim=1).double(), (values @ axes.T).double()

    def _held_out(
        self, n_components: float, is_held_out: Tensor, chosen: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Indices of chosen images, their centred features, and the axes without those held out."""
        mean, axes = self._refit(n_components, is_held_out)
        for index, values in self.features.rows_of(chosen, mean, _READ_BYTES):
            yield index, values.float(), axes

    def _refit(self, n_components: float, is_held_out: Tensor) -> tuple[Tensor, Tensor]:
        """The mean `(D,)` and axes `(k, D)` of the kept images: a fold is subtracted."""
        directions, n_kept = self.span.directions, int((~is_held_out).sum())
        products, left = self.span.products(), self.span.total
        overlap = torch.eye(len(directions), dtype=torch.float64, device=self.mean.device)
        total = torch.zeros_like(self.mean)
        for _, rows in self.features.rows_of(is_held_out, self.mean, _READ_BYTES):
            values = rows.float()
            coordinates = values @ directions.T
            overlap -= coordinates.T @ coordinates
            products.addmm_(coordinates.T, values, alpha=-1)
            total += rows.sum(dim=0)
            left -= float(values.square().sum(dim=1).double().sum())
        shift = -total / n_kept  # from the mean of all images to that of the kept ones
        along = directions @ shift.float()
        overlap.addr_(along.double(), along.double(), alpha=-n_kept)
        products.addr_(along, shift.float(), alpha=-n_kept)
        left -= n_kept * float(shift @ shift)
        variances, rotation = _nystrom(products, overlap, n_kept)
        left_out = max(left / (n_kept - 1) - float(variances.sum()), 0.0)
        rank = limited_rank(n_components, variances, left_out)
        return self.mean + shift, rotation[:, :rank].T @ products


def _find_span(data: "_Centred", limit: int, n_wanted: int, max_missing: float) -> _Span:
    """A Krylov space of the scatter matrix.

    Args:
        data: The features.
        limit: The most directions.
        n_wanted: So many are enough.
        max_missing: And so is this part of the variance, where it is all that is outside.
    """
    span: list[Tensor] = []
    products: list[Tensor] = []  # of the directions with the scatter matrix and each other
    found, n_found = 0.0, 0
    rows, total = data.start(min(_BLOCK, limit))
    while not span or (n_found < n_wanted and total - found > max_missing * total):
        wanted = rows[: limit - n_found]
        span += tensors_from_first(lambda: (_orthonormal(wanted, span),), rows.device)  # noqa: B023
        rows = data.times_scatter(span[-1])
        products.append(torch.cat([rows @ directions.T for directions in span], dim=1))
        found += from_first(lambda: float(products[-1][:, n_found:].diagonal().double().sum()))  # noqa: B023
        n_found += len(span[-1])
    scatter = torch.cat([F.pad(part, (0, n_found - part.shape[1])) for part in products])
    for directions in span:
        rows = rows.addmm(rows @ directions.T, directions, alpha=-1)
    variances, basis = principal_axes(scatter.double(), n_found + 1)
    variances = n_found * variances[variances > _LEAST * variances[0]]
    weights = (basis[:, : len(variances)] / variances.sqrt()).T.float()
    directions = torch.zeros(len(variances), rows.shape[1], device=rows.device)
    for part in torch.split(weights, [len(q) for q in span], dim=1):
        directions.addmm_(part, span.pop(0))
    return _Span(directions, variances.float(), rows, weights[:, -len(rows) :], total)


def _nystrom(products: Tensor, overlap: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """The axes of the approximation of a scatter matrix S by what it does to directions P.

    Args:
        products: P S, `(l, D)` float32.
        overlap: P S P', `(l, l)` float64.
        n_rows: The number of images behind S.

    Returns:
        The variances along the axes `(r,)` float64, descending, and weights `(l, r)` float32 of the
        axes over the products.

    Raises:
        FeatureError: If the images do not vary.
    """
    overlap.diagonal().add_(_RIDGE)
    root = torch.linalg.cholesky(overlap)
    upper = torch.zeros(len(products), len(products), device=products.device)
    add_product(upper, products)
    squares = (upper.triu() + upper.triu(1).T).double()
    for _ in range(2):
        squares = torch.linalg.solve_triangular(root, squares, upper=False).T
    variances, axes = principal_axes(squares, n_rows)
    is_found = variances > _LEAST * variances[0]
    variances, axes = variances[is_found], axes[:, is_found]
    axes /= (variances * (n_rows - 1)).sqrt()
    return variances, torch.linalg.solve_triangular(root.T, axes, upper=True).float()


class _Centred:
    """Features minus their mean, in blocks."""

    def __init__(
        self, features: FeatureMatrix, device: torch.device, mean: Tensor | None = None
    ) -> None:
        self._features = features
        self._device = device
        self.mean = torch.zeros(features.shape[1], dtype=torch.float64, device=device)
        if mean is None:
            total = torch.zeros_like(self.mean)
            for _, values in self.blocks():
                total += values.sum(dim=0, dtype=torch.float64)
            self.mean = add_up(total) / features.shape[0]
        else:
            self.mean = mean

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows and their features, of several processes the share of this one."""
        mean = self.mean.float()
        for rows, block in self._features.row_blocks(_READ_BYTES, shared=True):
            yield rows, block.to(self._device).sub_(mean)

    def start(self, n: int) -> tuple[Tensor, float]:
        """Random combinations `(n, D)` of the rows, and the sum of squares of all of them."""
        generator = torch.Generator()
        combined = torch.zeros(n, len(self.mean), device=self._device)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for rows, values in self.blocks():
            generator.manual_seed(rows.start)  # the same whichever process has the block
            weights = torch.randn(n, len(values), generator=generator).to(values)
            combined.addmm_(weights, values)
            total += values.square().sum(dim=1).double().sum()
        return add_up(combined), float(add_up(total))

    def times_scatter(self, directions: Tensor) -> Tensor:
        """Directions `(n, D)` times the `(D, D)` scatter matrix, which is never formed."""
        products = torch.zeros_like(directions)
        for _, values in self.blocks():
            products.addmm_((values @ directions.T).T, values)
        return add_up(products)


def _orthonormal(rows: Tensor, span: list[Tensor]) -> Tensor:
    """An orthonormal basis of rows `(n, D)` without what lies in a span."""
    for _ in range(2):  # once leaves rounding errors of the size of the leading axes
        for directions in span:
            rows = rows.addmm(rows @ directions.T, directions, alpha=-1)
        rows = torch.linalg.qr(rows.T).Q.T.contiguous()
    return rows
