"""Rows that are costly to compute (features, masks), computed once and kept on disk in shards.

An entry is a folder: `manifest.json`, and `.npy` shards that are read memory-mapped. A shard and
then the manifest that names it are written under a temporary name and renamed, so that whatever
the manifest says is there, is there; a stopped computation goes on after the last shard.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from fre_lightning.errors import CacheError
from fre_lightning.files import replacing

log = logging.getLogger(__name__)

SHARD_ROWS = 128
SHARD_BYTES = 64 * 2**20

_verified: set[tuple[str, int]] = set()
"""Shards, by path and time of change, whose checksum this process has verified."""


@dataclass
class Shard:
    """What the manifest says of one file: the rows of items `first` to `stop`, less `skipped`."""

    file: str
    first: int
    stop: int
    skipped: list[int]
    n_bytes: int
    crc32: int


@dataclass
class Manifest:
    """What an entry holds so far."""

    key: Mapping[str, object]
    n_items: int
    shards: list[Shard] = field(default_factory=list)

    @property
    def n_done(self) -> int:
        """How many items are stored or skipped."""
        return self.shards[-1].stop if self.shards else 0


@dataclass(frozen=True)
class CachedRows:
    """A complete entry.

    Attributes:
        shards: Memory-mapped arrays `(n_i, *row_shape)`, in order.
        indices: Which item each row belongs to.
        skipped: Items without a row.
        was_computed: Whether (a part of) it was computed just now rather than read.
    """

    shards: list[np.ndarray]
    indices: list[int]
    skipped: list[int]
    was_computed: bool

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self.shards[0].shape[1:])


class ShardWriter:
    """Gathers rows into shards and puts them on disk.

    Attributes:
        first: The first item that was still to be computed when the writer was made.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.first = manifest.n_done
        self._folder = folder
        self._manifest = manifest
        self._rows: list[np.ndarray] = []
        self._indices: list[int] = []

    def append(self, rows: np.ndarray, indices: Sequence[int]) -> None:
        """Add `(n, *row_shape)` rows of the items `indices`, in ascending order.

        Items before `first` are passed over.

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
        """Write what is left; items that never came are recorded as skipped."""
        if self._manifest.n_done < self._manifest.n_items and (
            self._indices or self._manifest.shards
        ):
            self._flush(self._manifest.n_items)

    def _flush(self, stop: int) -> None:
        first = self._manifest.n_done
        if self._indices:
            rows = np.ascontiguousarray(np.concatenate(self._rows))
        else:  # only skipped items are left
            shape = np.load(self._folder / self._manifest.shards[0].file, mmap_mode="r")
            rows = np.empty((0, *shape.shape[1:]), shape.dtype)
        file = f"shard-{len(self._manifest.shards):05d}.npy"
        path = self._folder / file
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, rows, allow_pickle=False)
        skipped = sorted(set(range(first, stop)) - set(self._indices))
        shard = Shard(file, first, stop, skipped, path.stat().st_size, zlib.crc32(rows.data))
        self._manifest.shards.append(shard)
        _write_json(self._folder / "manifest.json", asdict(self._manifest))
        self._rows, self._indices = [], []


class Entry(NamedTuple):
    """What to find in the cache.

    Attributes:
        name: For people: the log and the folder's name.
        key: Everything that determines the rows; must survive JSON.
    """

    name: str
    key: Mapping[str, object]


class FeatureCache:
    """A folder of entries, each of which is found by a key that holds all that determines it."""

    def __init__(self, cache_dir: str | Path) -> None:
        self.cache_dir = Path(cache_dir).expanduser()

    def load_or_compute(
        self,
        entries: Sequence[Entry],
        n_items: int,
        compute: Callable[[Mapping[int, ShardWriter]], None],
    ) -> list[CachedRows]:
        """Read entries that belong together, or compute what is missing of them.

        Args:
            entries: All of the same items.
            n_items: How many items each covers.
            compute: Appends rows to the writers of incomplete entries, which it gets by their
                number, each from the writer's `first` item on.

        Returns:
            The complete entries.

        Raises:
            CacheError: If the cache cannot be written, or no item gave a row.
        """
        folders = [self.cache_dir / _folder_name(entry) for entry in entries]
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as stack:
                # In one order for everybody, so that no two wait for each other.
                for folder in sorted(set(folders)):
                    stack.enter_context(_locked(folder))
                manifests = [Manifest(entry.key, n_items) for entry in entries]
                return _load_or_compute(folders, manifests, compute)
        except OSError as error:
            for folder in folders:
                _remove_unfinished(folder)
            msg = (
                f"The feature cache {self.cache_dir} cannot be written: {error}. The unfinished "
                "entry was removed. Free some space, or choose another place with "
                "paths.cache_dir=DIR."
            )
            raise CacheError(msg) from error


def _folder_name(entry: Entry) -> str:
    digest = hashlib.sha256(json.dumps(entry.key, sort_keys=True).encode()).hexdigest()[:16]
    return f"{entry.name.replace('/', '-')}-{digest}"


def _load_or_compute(
    folders: Sequence[Path],
    fresh: Sequence[Manifest],
    compute: Callable[[Mapping[int, ShardWriter]], None],
) -> list[CachedRows]:
    manifests = [_read_manifest(*pair) for pair in zip(folders, fresh, strict=True)]
    writers = {
        index: ShardWriter(folders[index], manifest)
        for index, manifest in enumerate(manifests)
        if manifest.n_done < manifest.n_items
    }
    if writers:
        for index in writers:
            folders[index].mkdir(exist_ok=True)
        compute(writers)
        for writer in writers.values():
            writer.close()
    return [
        _open(folder, manifest, was_computed=index in writers)
        for index, (folder, manifest) in enumerate(zip(folders, manifests, strict=True))
    ]


def _open(folder: Path, manifest: Manifest, *, was_computed: bool) -> CachedRows:
    if not manifest.shards:
        msg = "None of the images can be read; see the warnings above."
        raise CacheError(msg)
    shards = [np.load(folder / shard.file, mmap_mode="r") for shard in manifest.shards]
    skipped = [item for shard in manifest.shards for item in shard.skipped]
    indices = sorted(set(range(manifest.n_items)) - set(skipped))
    return CachedRows(shards, indices, skipped, was_computed)


def _remove_unfinished(folder: Path) -> None:
    """Remove an entry that a full disk cut short; complete ones stay."""
    try:
        content = json.loads((folder / "manifest.json").read_text())
        is_complete = content["shards"][-1]["stop"] == content["n_items"]
    except (OSError, ValueError, LookupError):
        is_complete = False
    if not is_complete:
        shutil.rmtree(folder, ignore_errors=True)


def _read_manifest(folder: Path, fresh: Manifest) -> Manifest:
    """The manifest of an entry if it and its shards are sound, else of an empty one."""
    path = folder / "manifest.json"
    if not path.is_file():
        return fresh
    try:
        content = json.loads(path.read_text())
        shards = [Shard(**shard) for shard in content["shards"]]
        for shard in shards:
            _verify(folder / shard.file, shard)
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("The cache entry %s is damaged (%s): computing it again.", folder, error)
        shutil.rmtree(folder)
        return fresh
    return Manifest(fresh.key, fresh.n_items, shards)


def _verify(path: Path, shard: Shard) -> None:
    """Compare a shard with its manifest: the length each time, the checksum once a process."""
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


def _write_json(path: Path, content: object) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the entry's lock; say so if another process has it."""
    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("Another process is computing %s; waiting for it.", folder.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
