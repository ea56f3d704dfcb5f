"""A subspace and further images as one, without the images that it was fitted on.

Mean, axes, variances and counts are all that is needed (Hall, Marshall and Martin 2000; Ross et al.
2008 for the mean). The result is that of a fit on all images, but for what the subspace had left
out: of that only the sum of the variances is known, not the directions.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.axes import limited_rank, principal_axes
from fre_lightning.reducers.products import add_product


class Moments(NamedTuple):
    """What a subspace has to remember of its images.

    Attributes:
        mean: `(D,)`.
        axes: `(k, D)`, orthonormal.
        variances: `(k,)` along the axes, normalised by n_rows - 1.
        rest: The sum of the variances in all other directions.
        n_rows: The number of images, copies included.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor
    rest: float
    n_rows: int


class _Solution(NamedTuple):
    """A merged subspace; shift and axes are weights over the rows of a `Merge`."""

    shift: Tensor  # (k + n,), from the known mean to the merged one
    axes: Tensor  # (r, k + n)
    variances: Tensor  # (r,)
    rest: float
    n_rows: int


class Merge:
    """A subspace to merge with new images.

    All is computed from the Gram matrix of k + n rows: the known axes, each as long as the root of
    the sum of squares along it, and the new images minus the known mean.

    Args:
        known: The subspace.
        features: `(n, D)`, the new images.
        n_components: A share of the variance, or a number; less if there are not as many axes.
        device: Where to compute; None, and devices without float64, mean the CPU.
    """

    def __init__(
        self,
        known: Moments,
        features: FeatureMatrix,
        n_components: float,
        device: torch.device | None = None,
    ) -> None:
        self._device = torch.device("cpu") if device is None or device.type == "mps" else device
        self._mean = known.mean.to(self._device).double()
        lengths = (known.variances.to(self._device) * (known.n_rows - 1)).sqrt()
        self._axes = known.axes.to(self._device) * lengths[:, None]
        self._known, self._features, self._n_components = known, features, n_components
        size = len(lengths) + features.shape[0]
        upper = torch.zeros(size, size, dtype=torch.float64, device=self._device)
        for _, rows in self._column_blocks():
            add_product(upper, rows)
        self._gram = upper.triu() + upper.triu(1).T

    def moments(self) -> Moments:
        """The merged subspace."""
        found = self._solve(torch.ones(self._features.shape[0], dtype=torch.bool))
        weights = torch.cat([found.shift[None], found.axes])
        lifted = torch.empty(len(weights), len(self._mean), device=self._device)
        for columns, rows in self._column_blocks():
            lifted[:, columns] = (weights @ rows).float()
        mean = self._mean + lifted[0]
        return Moments(mean, lifted[1:], found.variances, found.rest, found.n_rows)

    def held_out_errors(self, groups: Tensor, folds: Tensor, n_scored: int) -> Tensor:
        """Squared error of each new image under the merge without its fold.

        Args:
            groups: `(D,)` int64, a group from 0 to G - 1 of each feature, for example its position.
            folds: `(n,)` int64, the fold of each new image.
            n_scored: The first so many are scored: shifted copies, which come last, are only held
                out.

        Returns:
            `(n_scored, G)` float32 on the CPU, the sum over each group.
        """
        n_known, scored = len(self._axes), folds[:n_scored]
        combinations = self._gram.new_zeros(n_scored, len(self._gram))
        for fold in torch.unique(scored):
            found = self._solve(folds != fold)
            held_out = (scored == fold).nonzero()[:, 0]
            from_mean = -found.shift.repeat(len(held_out), 1)
            from_mean[torch.arange(len(held_out)), n_known + held_out] += 1
            coordinates = from_mean @ self._gram @ found.axes.T
            combinations[held_out] = from_mean - coordinates @ found.axes
        sums = torch.zeros(n_scored, int(groups.max()) + 1, dtype=torch.float64)
        for columns, rows in self._column_blocks():
            residual = combinations @ rows
            sums.index_add_(1, groups[columns], residual.square().cpu())
        return sums.float()

    def _column_blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Column slices and the `(k + n, d)` float64 blocks of all rows."""
        for columns, block in self._features.column_blocks():
            new = block.to(self._device).double() - self._mean[columns]
            yield columns, torch.cat([self._axes[:, columns].double(), new])

    def _solve(self, kept: Tensor) -> _Solution:
        """Merge with some of the new images, `(n,)` bool."""
        n_old, n_new, n_known = self._known.n_rows, int(kept.sum()), len(self._axes)
        n_rows = n_old + n_new
        rows = torch.cat([torch.arange(n_known), n_known + kept.nonzero()[:, 0]]).to(self._device)
        distance = (n_old * n_new / n_rows) ** 0.5

        def around_mean(products: Tensor) -> Tensor:
            """Rows whose sum of squares is that of all images around the merged mean.

            The known axes, the new images minus their mean, and the distance of the two means.
            """
            mean = products[n_known:].mean(dim=0, keepdim=True)
            return torch.cat([products[:n_known], products[n_known:] - mean, distance * mean])

        gram = around_mean(around_mean(self._gram[rows][:, rows]).T)
        variances, basis = principal_axes(gram, n_rows)
        lost = self._known.rest * (n_old - 1) / (n_rows - 1)
        rank = limited_rank(self._n_components, variances, lost)  # a share counts of the lost, too
        weights = (basis / (variances * (n_rows - 1)).sqrt()).T[:rank]
        new = weights[:, n_known:-1]
        new = new - new.mean(dim=1, keepdim=True) + distance / n_new * weights[:, -1:]
        axes = weights.new_zeros(rank, len(self._gram))
        axes[:, rows] = torch.cat([weights[:, :n_known], new], dim=1)
        shift = axes.new_zeros(len(self._gram))
        shift[rows[n_known:]] = 1 / n_rows
        rest = float(variances[rank:].sum()) + lost
        return _Solution(shift, axes, variances[:rank], rest, n_rows)
