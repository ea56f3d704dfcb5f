"""The cells of feature maps that a subspace consists of, and how much of each counts."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.fitted import FittedBuffers


class CellWeights(FittedBuffers):
    """Weighs the P cells of maps, and leaves out those of other subspaces or that never count.

    The features x of a cell of weight v become sqrt(v) (x - mean), so that squared errors have
    weight v in a subspace and in an error map. If weights differ between the images or tiles that
    share a subspace, the mean is that of the ones in which a cell counts: in the others, x - mean
    becomes 0, the best guess of what is unknown. Else it is left to the reducer, and 0 here.

    Without `use` there is no state, and everything stays as it is.

    Attributes:
        weights: `(t, P)` float32 from 0 to 1, for each of the t tiles that share a subspace; with
            weights for each training image their highest.
        mean: `(C, K)` float32, of the K cells that are kept.
        kept: `(K,)` int64, these cells.
        place: `(P,)` int64, the number of each cell among these; K for those left out.
    """

    weights: Tensor
    mean: Tensor
    kept: Tensor
    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_optional_buffers("weights", "mean", "kept", "place")
        self._of_rows = torch.empty(0)

    @property
    def is_used(self) -> bool:
        """Whether cells are weighed or left out."""
        return self._buffers["weights"] is not None

    @property
    def is_empty(self) -> bool:
        """Whether no cell is kept."""
        return self.is_used and self.kept.shape[0] == 0

    def use(self, weights: Tensor, block: Tensor) -> None:
        """Set the weights, and keep the cells of a block that count in any image.

        Args:
            weights: `(n, t, P)`, of t tiles in each of n training images; n = 1: in all.
            block: `(P,)` bool, the cells that may be kept.
        """
        self.weights = weights.amax(dim=0)
        is_kept = (self.weights.amax(dim=0) > 0) & block.to(weights.device)
        self.kept = is_kept.nonzero()[:, 0]
        self.place = torch.where(is_kept, is_kept.cumsum(dim=0) - 1, len(self.kept))
        self._of_rows = weights.flatten(0, 1).cpu()

    def use_for_rows(self, weights: Tensor | None) -> None:
        """Set the weights `(n, t, P)` of further rows to be read, none higher than those of `use`.

        None: these.
        """
        if self.is_used:
            self._of_rows = (self.weights if weights is None else weights.flatten(0, 1)).cpu()

    def inside(self, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Which cells are kept, `(h, w)`; None if all are."""
        if not self.is_used:
            return None
        is_kept: NDArray[np.bool_] = (self.place < len(self.kept)).cpu().numpy()
        return is_kept.reshape(size)

    def fit(self, features: FeatureMatrix) -> None:
        """Learn the mean of training features `(N, C * P)`, whose rows are as `use` has weights."""
        if not self.is_used:
            return
        weights, n_cells = self._of_rows.double(), len(self.place)
        mean = torch.zeros(features.shape[1], dtype=torch.float64)
        if len(weights) > 1:
            shares = weights / weights.sum(dim=0).clamp(min=torch.finfo(weights.dtype).tiny)
            for columns, block in features.column_blocks():
                cells = torch.arange(columns.start, columns.stop) % n_cells
                means = block.double().view(-1, *weights[:, cells].shape).mean(dim=0)
                mean[columns] = (shares[:, cells] * means).sum(dim=0)
        self.mean = mean.view(-1, n_cells).float().to(self.kept.device)[:, self.kept]

    def fill(self, maps: Tensor) -> Tensor:
        """Training maps `(N, C, h, w)` with the mean in kept cells that an image leaves out."""
        if len(self._of_rows) <= 1:
            return maps
        counts = self._of_rows.repeat(len(maps) // len(self._of_rows), 1)[:, None] > 0
        return torch.where(counts, maps.flatten(2), self.spread(self.mean).cpu()).view(maps.shape)

    def weigh(self, features: FeatureMatrix) -> FeatureMatrix:
        """Training features as `(N, C * K)`, weighed whenever they are read.

        Args:
            features: `(N, C * P)`; or `(N, C * K)`, of the kept cells alone.
        """
        if not self.is_used:
            return features
        return FeatureMatrix([_WeighedRows(features, self)], n_copies=features.n_copies)

    def forward(self, features: Tensor, weights: Tensor | None = None) -> Tensor:
        """Weigh features `(n * t, C * P)`: `(n * t, C * K)`.

        Args:
            features: Of the t tiles of an image, then of the next.
            weights: `(n * t, P)`, if not all images have those that were set.
        """
        if not self.is_used:
            return features
        n_cells, n_features = self.place.shape[0], self.mean.numel()
        maps = features.view(-1, features.shape[1] // n_cells, n_cells).index_select(2, self.kept)
        roots = (self.weights if weights is None else weights).index_select(1, self.kept).sqrt()
        tiles = (maps - self.mean).view(-1, roots.shape[0], *self.mean.shape) * roots[:, None]
        return tiles.view(-1, n_features)

    def spread(self, cells: Tensor) -> Tensor:
        """Values `(..., K)` of the cells that are kept as `(..., P)`, 0 elsewhere."""
        if not self.is_used:
            return cells
        return F.pad(cells, (0, 1)).index_select(-1, self.place.to(cells.device))

    def rows(self, rows: slice) -> Tensor:
        """The weights of training rows, `(n, K)`."""
        numbers = torch.arange(rows.start, rows.stop) % len(self._of_rows)
        return self._of_rows[numbers][:, self.kept.cpu()]


class _WeighedRows:
    """The rows of `CellWeights.weigh`."""

    def __init__(self, features: FeatureMatrix, cells: CellWeights) -> None:
        n_cells, n_features = len(cells.place), cells.mean.numel()
        starts = torch.arange(len(cells.mean))[:, None] * n_cells
        is_cut = features.shape[1] == n_features
        self._sources = (
            torch.arange(n_features) if is_cut else (starts + cells.kept.cpu()).flatten()
        )
        self._features = features
        self._cells = cells
        self.shape: tuple[int, ...] = (features.shape[0], len(self._sources))

    def __getitem__(self, block: tuple[slice, slice]) -> NDArray[np.float32]:
        rows, columns = (slice(*s.indices(n)) for s, n in zip(block, self.shape, strict=True))
        sources = self._sources[columns]
        first, last = int(sources[0]), int(sources[-1])
        values = self._features.block(rows, slice(first, last + 1))[:, sources - first]
        cells = torch.arange(columns.start, columns.stop) % len(self._cells.kept)
        mean = self._cells.mean.cpu().flatten()[columns]
        weighed: NDArray[np.float32] = (
            (values - mean) * self._cells.rows(rows)[:, cells].sqrt()
        ).numpy()
        return weighed
