"""The features of a split as one matrix, read in blocks: it may be larger than memory."""

import mmap
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

BLOCK_BYTES = 8 * 2**20
"""How much of a matrix a streaming computation looks at at a time. The allocator keeps blocks of
this size for the next one; larger ones it takes from the system each time, page by page."""

Transform = Callable[[Tensor, int], Tensor]
"""`(block, first column) -> block`: an elementwise function that may differ between columns."""


class Rows(Protocol):
    """What reads as an `(n, D)` array, and may compute what is read."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...
    def __getitem__(self, block: tuple[slice, slice]) -> np.ndarray: ...


class FeatureMatrix:
    """An `(N, D)` float32 matrix in row shards, transformed as it is read.

    Attributes:
        shape: `(N, D)`.
        n_copies: How many copies of the same items the rows are, one copy of all after another.
    """

    def __init__(
        self,
        shards: Sequence[np.ndarray | Tensor | Rows],
        transform: Transform | None = None,
        n_copies: int = 1,
    ) -> None:
        """Hold shards without reading them.

        Args:
            shards: `(n_i, ...)` arrays, memory-mapped or not; trailing axes are flattened. Or
                what reads as `(n_i, D)` arrays.
            transform: Applied to whatever is read.
            n_copies: See the class.
        """
        arrays = (shard.numpy() if isinstance(shard, Tensor) else shard for shard in shards)
        self._shards: list[Rows] = [
            array.reshape(len(array), -1) if isinstance(array, np.ndarray) else array
            for array in arrays
        ]
        self._starts = list(accumulate((len(shard) for shard in self._shards), initial=0))
        self._transform = transform
        self.n_copies = n_copies
        self.shape = (self._starts[-1], int(self._shards[0].shape[1]))

    def block(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """Read a block: `(n, d)` float32 in memory, for slices of step 1."""
        first, last, _ = rows.indices(self.shape[0])
        parts = [
            _copy(shard, slice(max(first - start, 0), last - start), columns)
            for shard, (start, stop) in zip(self._shards, pairwise(self._starts), strict=True)
            if start < last and stop > first
        ]
        block = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self._transform(block, columns.start or 0) if self._transform else block

    def row_blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, Tensor]]:
        """All rows, some at a time: pairs of a row slice and its `(n, D)` block."""
        n_rows, n_columns = self.shape
        for rows in _slices(n_rows, block_bytes // (4 * max(n_columns, 1))):
            yield rows, self.block(rows)

    def column_blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, Tensor]]:
        """All columns, some at a time: pairs of a column slice and its `(N, d)` block."""
        n_rows, n_columns = self.shape
        for columns in _slices(n_columns, block_bytes // (4 * max(n_rows, 1))):
            yield columns, self.block(slice(None), columns)


def _copy(shard: Rows, rows: slice, columns: slice) -> Tensor:
    """A part of a shard as float32; a memory-mapped one goes back to the file."""
    part = torch.as_tensor(np.array(shard[rows, columns], dtype=np.float32))
    mapped = getattr(shard, "_mmap", None)  # views share the map of the array that opened it
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        # Pages that were read would count as this process's memory until it ends.
        mapped.madvise(mmap.MADV_DONTNEED)
    return part


def _slices(n: int, step: int) -> Iterator[slice]:
    step = max(step, 1)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
