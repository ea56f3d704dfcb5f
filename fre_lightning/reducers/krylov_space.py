"""A Krylov space of the scatter matrix of many features, without the matrix.

Halko, Martinsson and Tropp (2011); Musco and Musco (2015). Every block of directions takes one pass
over the features, and the total variance, the trace, says when there are enough. Memory holds the
directions and a block of images, and grows with neither N nor N times D.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.collective import add_up, from_first, tensors_from_first
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.axes import choose_rank, is_share, limited_rank, principal_axes
from fre_lightning.reducers.memory import release

BLOCK = 256
"""Directions per pass. Fewer take more passes, more are less accurate."""

READ_BYTES = 2**25
"""Of a block of images: with smaller ones products take 1.5 times as long."""

_MAX_MISSING = 0.5
"""The part of the variance that the wanted axes leave over which may lie outside the space."""

_LEAST_BLOCKS = 6
"""Of directions: where a few would do, more cost little, and each is a power step more accurate."""

_KEPT = 1.6
"""Times the wanted axes: the directions that are kept. More change scores by less than 1e-4."""

LEAST = 1e-6
"""Variances below this part of the largest one are rounding errors of float32."""


@dataclass(frozen=True)
class Span:
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

    def squares(self) -> Tensor:
        """P S (P S)', `(l, l)`; `rest` is orthogonal to P, and P is to itself."""
        squares = self.coupling @ (self.rest @ self.rest.T) @ self.coupling.T
        squares.diagonal().add_(self.scales)
        return squares


class Centred:
    """Features minus their mean, without the rows that are not kept, in blocks."""

    def __init__(
        self,
        features: FeatureMatrix,
        device: torch.device,
        kept: Tensor | None = None,
        mean: Tensor | None = None,
    ) -> None:
        self._features = features
        self._device = device
        self._kept = torch.ones(features.shape[0], dtype=torch.bool) if kept is None else kept
        self.n_rows = int(self._kept.sum())
        self.mean = torch.zeros(features.shape[1], dtype=torch.float64, device=device)
        if mean is None:
            total = torch.zeros_like(self.mean)
            for _, values in self.blocks():
                total += values.sum(dim=0, dtype=torch.float64)
            self.mean = add_up(total) / self.n_rows
        else:
            self.mean = mean

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows and the features of those kept, of several processes the share of this one."""
        mean = self.mean.float()
        for rows, block in self._features.row_blocks(READ_BYTES, shared=True):
            kept = self._kept[rows]
            yield rows, (block if bool(kept.all()) else block[kept]).to(self._device).sub_(mean)

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
        products = directions.new_zeros(directions.shape[::-1])
        for _, values in self.blocks():
            products.addmm_(values.T, values @ directions.T)  # its transpose takes longer
        return add_up(products).T


def find_span(data: Centred, n_components: float) -> Span:
    """The leading directions of a Krylov space of the scatter matrix.

    Args:
        data: The features.
        n_components: The wanted share of the variance, or number of axes.

    Raises:
        FeatureError: If the features do not vary.
        ConfigError: If `n_components` is neither, or more than there can be axes.
    """
    limit = min(data.n_rows - 1, len(data.mean))
    choose_rank(n_components, torch.ones(limit))  # complains before the work, not after it
    missing, n_wanted = LEAST, limit  # float32 finds no more
    if is_share(n_components):
        missing = max(_MAX_MISSING * (1 - n_components), missing)
    else:
        n_wanted = min(int(2 * n_components) + 2 * BLOCK, limit)
    span: list[Tensor] = []
    products: list[Tensor] = []  # of the directions with the scatter matrix and each other
    found, n_found = 0.0, 0
    rows, total = data.start(min(BLOCK, limit))
    while not span or (
        n_found < limit
        and total - found > LEAST * total
        and (len(span) < _LEAST_BLOCKS or (n_found < n_wanted and total - found > missing * total))
    ):
        wanted = rows[: limit - n_found]
        span += tensors_from_first(lambda: (_orthonormal(wanted, span),), rows.device)  # noqa: B023
        rows = data.times_scatter(span[-1])
        products.append(torch.cat([rows @ directions.T for directions in span], dim=1))
        found += from_first(lambda: float(products[-1][:, n_found:].diagonal().double().sum()))  # noqa: B023
        n_found += len(span[-1])
        sizes = [len(directions) for directions in span]
        for part, directions in zip(torch.split(products[-1], sizes, dim=1), span, strict=True):
            rows.addmm_(part, directions, alpha=-1)
        release()
    variances, weights = _whiten(products)
    rank = limited_rank(n_components, variances, total - float(variances.sum()))
    n_kept = max(int(_KEPT * rank), rank + BLOCK)
    variances, weights = variances[:n_kept], weights[:n_kept]
    directions = torch.zeros(len(variances), rows.shape[1], device=rows.device)
    for part in torch.split(weights, sizes, dim=1):
        directions.addmm_(part, span.pop(0))
    release()
    return Span(directions, variances.float(), rows, weights[:, -len(rows) :].clone(), total)


def _whiten(products: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Weights `(l, n)` that turn orthonormal directions Q into P with P S P' = 1.

    Args:
        products: Of each block of directions with S and the directions up to it; emptied.

    Returns:
        The variances `(l,)` of Q's axes, sums of squares, float64 descending, and the weights,
        float32.
    """
    n = products[-1].shape[1]
    scatter = torch.cat([F.pad(part, (0, n - part.shape[1])) for part in products]).double()
    products.clear()  # memory
    variances, basis = principal_axes(scatter, n + 1)
    variances = n * variances[variances > LEAST * variances[0]]
    return variances, (basis[:, : len(variances)] / variances.sqrt()).T.float()


def _orthonormal(rows: Tensor, span: list[Tensor]) -> Tensor:
    """An orthonormal basis of rows `(n, D)`, from which what lies in a span was taken already.

    Once leaves rounding errors of the size of the leading axes.
    """
    rows = torch.linalg.qr(rows.T).Q.T
    for directions in span:
        rows = rows.addmm(rows @ directions.T, directions, alpha=-1)
    basis: Tensor = torch.linalg.qr(rows.T).Q.T.contiguous()
    return basis
