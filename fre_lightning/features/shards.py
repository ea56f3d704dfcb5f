"""The files of a cache entry: `manifest.json`, and `.npy` shards of rows, read memory-mapped.

A shard, then the manifest that names it, are written under a temporary name and renamed. So all
files that a manifest names are complete, and a stopped computation resumes with what is missing.
Of several processes that compute an entry each has a manifest of its own, `manifest-1.json` and so
on, until the first one unites them.
"""

import json
import logging
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import compress, pairwise
from pathlib import Path

import numpy as np

from fre_lightning.files import remove_leftovers, replacing, write_text

log = logging.getLogger(__name__)

SHARD_ROWS = 128
SHARD_BYTES = 64 * 2**20
_MANIFEST = "manifest.json"
_OF_PROCESSES = "manifest-*.json"

_verified: set[tuple[str, int]] = set()
"""Shards, by path and time of change, whose checksum this process has verified."""


@dataclass
class Shard:
    """A file with the rows of items `first` to `stop - 1` without `skipped`; "": it has no rows."""

    file: str
    first: int
    stop: int
    skipped: list[int]
    n_bytes: int
    crc32: int


@dataclass
class Manifest:
    """The content of an entry so far, in the order of its items."""

    key: Mapping[str, object]
    n_items: int
    shards: list[Shard] = field(default_factory=list)

    def missing(self) -> list[int]:
        """The items that are neither stored nor skipped, ascending."""
        ends = [(shard.first, shard.stop) for shard in self.shards]
        gaps = pairwise([(0, 0), *ends, (self.n_items, self.n_items)])
        return [item for (_, stop), (first, _) in gaps for item in range(stop, first)]

    def unite(self, others: Iterable[Sequence[Shard]]) -> None:
        """Take in the shards of other manifests of this entry."""
        found = {shard.first: shard for shards in (self.shards, *others) for shard in shards}
        self.shards = [found[first] for first in sorted(found)]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_text(path, json.dumps(asdict(self)))


class ShardWriter:
    """Collects rows and writes them to disk in shards.

    Args:
        folder: The entry's; made if it isn't there.
        manifest: The entry's content so far.
        items: The items whose rows will come, ascending; none of them is stored yet.
        process: The number of this process if several write; None: this is the only one.

    Attributes:
        items: Those items.
        shards: What this writer has written.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        items: Sequence[int],
        process: int | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.items = items
        self.shards: list[Shard] = []
        self._folder = folder
        known = manifest.shards if process is None else []
        self._manifest = Manifest(manifest.key, manifest.n_items, [*known])
        self._path = folder / (_MANIFEST if process is None else f"manifest-{process}.json")
        self._spans = _spans(items)
        self._rows: list[np.ndarray] = []
        self._indices: list[int] = []

    def append(self, rows: np.ndarray, indices: Sequence[int]) -> None:
        """Add `(n, *row_shape)` rows of the items `indices`, in ascending order.

        Items that are not the writer's are ignored.

        Raises:
            OSError: If a shard cannot be written.
        """
        positions = np.asarray(indices)
        while self._spans and len(positions):
            span = self._spans[0]
            inside = (positions >= span.start) & (positions < span.stop)
            if inside.any():
                self._rows.append(rows[inside])
                self._indices += positions[inside].tolist()
            if positions[-1] < span.stop - 1:
                n_bytes = sum(part.nbytes for part in self._rows)
                if len(self._indices) >= SHARD_ROWS or n_bytes >= SHARD_BYTES:
                    self._flush(self._indices[-1] + 1)
                return
            self._flush(span.stop)

    def close(self) -> None:
        """Write the last shards; items without a row are recorded as skipped.

        Raises:
            OSError: If one cannot be written.
        """
        while self._spans:
            self._flush(self._spans[0].stop)

    def _flush(self, stop: int) -> None:
        """Write the rows of the items before `stop`, which lies in the first span or ends it."""
        span = self._spans.pop(0)
        if stop < span.stop:
            self._spans.insert(0, range(stop, span.stop))
        if stop > span.start:
            skipped = sorted(set(range(span.start, stop)) - set(self._indices))
            shard = self._write(span.start, stop, skipped)
            self.shards.append(shard)
            self._manifest.unite([[shard]])
            self._manifest.write(self._path)
        self._rows, self._indices = [], []

    def _write(self, first: int, stop: int, skipped: list[int]) -> Shard:
        if not self._rows:
            return Shard("", first, stop, skipped, 0, 0)
        rows = np.ascontiguousarray(np.concatenate(self._rows))
        path = self._folder / f"shard-{first:05d}.npy"
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, rows, allow_pickle=False)
        return Shard(path.name, first, stop, skipped, path.stat().st_size, zlib.crc32(rows.data))


def _spans(items: Sequence[int]) -> list[range]:
    """Ascending items as ranges without a gap."""
    starts = [i for i in range(len(items)) if i == 0 or items[i] != items[i - 1] + 1]
    return [
        range(items[start], items[stop - 1] + 1) for start, stop in pairwise([*starts, len(items)])
    ]


def read_manifest(folder: Path, fresh: Manifest) -> Manifest:
    """The manifest of an entry; `fresh` if there is none, or if it is damaged and removed.

    What stopped processes left is taken in, so this must be the only one that uses the entry. Of
    shards that are damaged or gone the items are missing.
    """
    remove_leftovers(folder)
    others = sorted(folder.glob(_OF_PROCESSES))
    path, found = folder / _MANIFEST, Manifest(fresh.key, fresh.n_items)
    try:
        for one in (path, *others):
            if one.is_file():
                content = json.loads(one.read_text(encoding="utf-8"))
                found.unite([[Shard(**shard) for shard in content["shards"]]])
        if any(first.stop > second.first for first, second in pairwise(found.shards)):
            raise ValueError("two of its files have the same rows")
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("The cache entry %s is damaged (%s): computing it again.", folder, error)
        shutil.rmtree(folder)
        return fresh
    is_intact = [_is_intact(folder, shard) for shard in found.shards]
    damaged = [shard for shard, intact in zip(found.shards, is_intact, strict=True) if not intact]
    if damaged:
        n_items = sum(shard.stop - shard.first for shard in damaged)
        msg = "The cache entry %s lost %d of its images (damaged files): computing them again."
        log.warning(msg, folder, n_items)
        found.shards = list(compress(found.shards, is_intact))
        for shard in damaged:
            (folder / shard.file).unlink(missing_ok=True)
    if others or damaged:
        write_united(folder, found)
    return found


def write_united(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of an entry, and remove those of single processes, which it has all of."""
    manifest.write(folder / _MANIFEST)
    for path in folder.glob(_OF_PROCESSES):
        path.unlink()


def _is_intact(folder: Path, shard: Shard) -> bool:
    """Compare a file with its manifest: the length always, the checksum once per process."""
    if not shard.file:
        return True
    path = folder / shard.file
    try:
        status = path.stat()
        version = (str(path), status.st_mtime_ns)
        is_intact = status.st_size == shard.n_bytes and (
            version in _verified or zlib.crc32(np.load(path, mmap_mode="r").data) == shard.crc32
        )
    except (OSError, ValueError):
        return False
    if is_intact:
        _verified.add(version)
    return is_intact
