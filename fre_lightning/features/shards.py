"""The files of a cache entry: `manifest.json`, and `.npy` shards of rows, read memory-mapped.

A shard, then the manifest that names it, are written under a temporary name and renamed. So all
files that a manifest names are complete, and a stopped computation resumes after the last shard.
"""

import json
import logging
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from fre_lightning.files import remove_leftovers, replacing, write_text

log = logging.getLogger(__name__)

SHARD_ROWS = 128
SHARD_BYTES = 64 * 2**20
_MANIFEST = "manifest.json"

_verified: set[tuple[str, int]] = set()
"""Shards, by path and time of change, whose checksum this process has verified."""


@dataclass
class Shard:
    """A file with the rows of items `first` to `stop - 1` without `skipped`."""

    file: str
    first: int
    stop: int
    skipped: list[int]
    n_bytes: int
    crc32: int


@dataclass
class Manifest:
    """The content of an entry so far."""

    key: Mapping[str, object]
    n_items: int
    shards: list[Shard] = field(default_factory=list)

    @property
    def n_done(self) -> int:
        """The number of items stored or skipped."""
        return self.shards[-1].stop if self.shards else 0


class ShardWriter:
    """Collects rows and writes them to disk in shards.

    Attributes:
        first: The first item that is missing when the writer is made.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        folder.mkdir(exist_ok=True)
        remove_leftovers(folder)
        self.first = manifest.n_done
        self._folder = folder
        self._manifest = manifest
        self._rows: list[np.ndarray] = []
        self._indices: list[int] = []

    def append(self, rows: np.ndarray, indices: Sequence[int]) -> None:
        """Add `(n, *row_shape)` rows of the items `indices`, in ascending order.

        Items before `first` are ignored.

        Raises:
            OSError: If a shard cannot be written.
        """
        n_known = sum(index < self.first for index in indices)
        if n_known == len(indices):
            return
        self._rows.append(rows[n_known:])
        self._indices += indices[n_known:]
        n_bytes = sum(part.nbytes for part in self._rows)
        if len(self._indices) >= SHARD_ROWS or n_bytes >= SHARD_BYTES:
            self._flush(self._indices[-1] + 1)

    def close(self) -> None:
        """Write the last shard; items without a row are recorded as skipped.

        Raises:
            OSError: If it cannot be written.
        """
        is_complete = self._manifest.n_done == self._manifest.n_items
        if not is_complete and (self._indices or self._manifest.shards):
            self._flush(self._manifest.n_items)

    def _flush(self, stop: int) -> None:
        first = self._manifest.n_done
        if not self._rows:  # only skipped items are left
            stored = np.load(self._folder / self._manifest.shards[0].file, mmap_mode="r")
            self._rows = [stored[:0]]
        rows = np.ascontiguousarray(np.concatenate(self._rows))
        file = f"shard-{len(self._manifest.shards):05d}.npy"
        path = self._folder / file
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, rows, allow_pickle=False)
        skipped = sorted(set(range(first, stop)) - set(self._indices))
        shard = Shard(file, first, stop, skipped, path.stat().st_size, zlib.crc32(rows.data))
        self._manifest.shards.append(shard)
        write_text(self._folder / _MANIFEST, json.dumps(asdict(self._manifest)))
        self._rows, self._indices = [], []


def read_manifest(folder: Path, fresh: Manifest) -> Manifest:
    """The manifest of an entry; `fresh` if there is none, or if it was damaged and is removed."""
    path = folder / _MANIFEST
    if not path.is_file():
        return fresh
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shards = [Shard(**shard) for shard in content["shards"]]
        for shard in shards:
            _verify(folder / shard.file, shard)
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("The cache entry %s is damaged (%s): computing it again.", folder, error)
        shutil.rmtree(folder)
        return fresh
    return Manifest(fresh.key, fresh.n_items, shards)


def _verify(path: Path, shard: Shard) -> None:
    """Compare a shard with its manifest: the length always, the checksum once per process."""
    status = path.stat()
    if status.st_size != shard.n_bytes:
        msg = f"{path.name} has {status.st_size} bytes instead of {shard.n_bytes}"
        raise ValueError(msg)
    if (str(path), status.st_mtime_ns) in _verified:
        return
    if zlib.crc32(np.load(path, mmap_mode="r").data) != shard.crc32:
        msg = f"the checksum of {path.name} is wrong"
        raise ValueError(msg)
    _verified.add((str(path), status.st_mtime_ns))
