"""The features of a split as one matrix that may be larger than memory: it is read in blocks."""

import mmap
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fre_lightning.collective import share

BLOCK_BYTES = 8 * 2**20
"""Bytes per block. The allocator reuses blocks of this size; larger ones are mapped anew, page by
page."""

Transform = Callable[[Tensor, int], Tensor]
"""`(block, first column) -> block`: elementwise, and may differ between columns."""


class Rows(Protocol):
    """An `(n, D)` array to read from; it may compute its values when they are read."""

    shape: tuple[int, ...]

    def __getitem__(self, block: tuple[slice, slice]) -> np.ndarray: ...


class FeatureMatrix:
    """An `(N, D)` float32 matrix in row shards, transformed when it is read.

    Args:
        shards: `(n_i, ...)` arrays, memory-mapped or not, whose trailing axes are flattened; or
            `Rows` of `(n_i, D)`.
        transform: Applied to every block that is read.
        n_copies: The rows are this many copies of N / n_copies images, one whole copy after
            another.
        block_bytes: Size of the blocks that `row_blocks` and `column_blocks` give.

    Attributes:
        shape: `(N, D)`.
    """

    def __init__(
        self,
        shards: Sequence[np.ndarray | Tensor | Rows],
        transform: Transform | None = None,
        n_copies: int = 1,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        arrays = (shard.numpy() if isinstance(shard, Tensor) else shard for shard in shards)
        self._shards: list[Rows] = [
            array.reshape(len(array), -1) if isinstance(array, np.ndarray) else array
            for array in arrays
        ]
        self._starts = list(accumulate((shard.shape[0] for shard in self._shards), initial=0))
        self._transform = transform
        self._block_bytes = block_bytes
        self.n_copies = n_copies
        self.shape = (self._starts[-1], int(self._shards[0].shape[1]))

    def block(self, rows: slice, columns: slice = slice(None)) -> Tensor:
        """Read a block: `(n, d)` float32 in memory, for slices of step 1."""
        return self._read([rows], columns)

    def row_blocks(
        self, block_bytes: int | None = None, *, shared: bool = False
    ) -> Iterator[tuple[slice, Tensor]]:
        """Iterate over all rows: pairs of a row slice and its `(n, D)` block.

        Args:
            block_bytes: Of the blocks.
            shared: Whether the processes of a run get a share of the blocks each.
        """
        blocks = self._slices(0, block_bytes)
        return ((rows, self.block(rows)) for rows in (share(blocks) if shared else blocks))

    def rows_of(
        self, chosen: Tensor, mean: Tensor, block_bytes: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over chosen rows, in blocks: pairs of indices and features minus a mean.

        No others are read.

        Args:
            chosen: `(N,)` bool.
            mean: `(D,)` float64; the features become it, on its device.
            block_bytes: Size of the blocks, as they are read.
        """
        index = chosen.nonzero()[:, 0]
        step = self._step(1, block_bytes)
        for start in range(0, len(index), step):
            part = index[start : start + step]
            yield part, self._read(_runs(part)).to(mean.device).double() - mean

    def column_blocks(self, *, shared: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Iterate over all columns: pairs of a column slice and its `(N, d)` block.

        Args:
            shared: As in `row_blocks`.
        """
        blocks = self._slices(1)
        return (
            (columns, self.block(slice(None), columns))
            for columns in (share(blocks) if shared else blocks)
        )

    def _read(self, runs: Sequence[slice], columns: slice = slice(None)) -> Tensor:
        """Read ascending slices of rows, one below the other."""
        pieces: dict[int, list[slice]] = {}  # by the number of their shard
        for rows in runs:
            first, last, _ = rows.indices(self.shape[0])
            number = bisect_right(self._starts, first) - 1
            while first < last:
                start, stop = self._starts[number : number + 2]
                pieces.setdefault(number, []).append(slice(first - start, min(last, stop) - start))
                first, number = stop, number + 1
        parts = [_copy(self._shards[number], inside, columns) for number, inside in pieces.items()]
        block = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self._transform(block, columns.start or 0) if self._transform else block

    def _slices(self, axis: int, block_bytes: int | None = None) -> list[slice]:
        n, step = self.shape[axis], self._step(1 - axis, block_bytes)
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def _step(self, axis: int, block_bytes: int | None) -> int:
        """How many lines along an axis a block has."""
        return max((block_bytes or self._block_bytes) // max(4 * self.shape[axis], 1), 1)


def _runs(index: Tensor) -> list[slice]:
    """The slices that ascending numbers make up."""
    breaks = (index.diff() != 1).nonzero()[:, 0] + 1
    return [slice(int(run[0]), int(run[-1]) + 1) for run in index.tensor_split(breaks.cpu())]


def _copy(shard: Rows, runs: Sequence[slice], columns: slice) -> Tensor:
    """Copy rows of a shard as float32; pages of a memory-mapped file are released again."""
    rows = [shard[run, columns] for run in runs]
    part = torch.as_tensor(np.concatenate(rows, dtype=np.float32))
    mapped = getattr(shard, "_mmap", None)  # a view shares the map of the whole array
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        # Pages that were read would count as this process's memory until it ends.
        mapped.madvise(mmap.MADV_DONTNEED)
    return part
