"""A cache on disk for rows that are costly to compute: features and masks of images."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import Timeout

from fre_lightning.collective import from_first, gather, n_processes, rank, share, together
from fre_lightning.errors import CacheError, ConfigError
from fre_lightning.features.inventory import size_of
from fre_lightning.features.locks import lock_of
from fre_lightning.features.shards import Manifest, ShardWriter, read_manifest, write_united
from fre_lightning.files import mark_used

log = logging.getLogger(__name__)

DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class CachedRows:
    """A complete entry.

    Attributes:
        shards: Memory-mapped arrays `(n_i, *row_shape)`, in order.
        indices: The item of each row.
        skipped: Items without a row.
        was_computed: Whether the entry, or a part of it, was computed by this call.
    """

    shards: list[np.ndarray]
    indices: list[int]
    skipped: list[int]
    was_computed: bool

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self.shards[0].shape[1:])


class CacheEntry(NamedTuple):
    """An entry to look for.

    Attributes:
        name: The readable part of the folder's name.
        key: Everything that determines the rows; must survive JSON.
    """

    name: str
    key: Mapping[str, object]


class _DeletedError(CacheError):
    """A file that was there is gone."""


class FeatureCache:
    """A folder of entries. Each is found by a key, and holds rows of items 0 to `n_items - 1`.

    Args:
        cache_dir: The folder.
        dtype: What features are stored as, `float32` or `float16`; computed with is float32.

    Raises:
        ConfigError: If the type is neither.
    """

    def __init__(self, cache_dir: str | Path, dtype: str) -> None:
        if dtype not in DTYPES:
            msg = f"cache.dtype={dtype} is unknown; choose {' or '.join(DTYPES)}."
            raise ConfigError(msg)
        self.cache_dir = Path(cache_dir).expanduser()
        self.dtype = dtype

    def load_or_compute(
        self,
        entries: Sequence[CacheEntry],
        n_items: int,
        compute: Callable[[Mapping[int, ShardWriter]], None],
    ) -> list[CachedRows]:
        """Read entries of the same items, and compute what is missing.

        Args:
            entries: The entries; one run at a time computes them, others wait.
            n_items: The number of items.
            compute: Gets the writers of incomplete entries, by index in `entries`; appends to each
                the rows of its `items`.

        Returns:
            The complete entries.

        Raises:
            CacheError: If the cache cannot be written, or no item has a row.
        """
        try:
            return self._load_or_compute(entries, n_items, compute)
        except _DeletedError:
            log.warning("%s was deleted meanwhile: computing once more.", self.cache_dir)
            return self._load_or_compute(entries, n_items, compute)

    def _load_or_compute(
        self,
        entries: Sequence[CacheEntry],
        n_items: int,
        compute: Callable[[Mapping[int, ShardWriter]], None],
    ) -> list[CachedRows]:
        folders = [self.cache_dir / _folder_name(entry) for entry in entries]
        with contextlib.ExitStack() as locks:

            def read() -> list[Manifest]:
                with self._explained():
                    self.cache_dir.mkdir(parents=True, exist_ok=True)
                    # All processes lock in the same order, so that no two wait for each other.
                    for folder in sorted(set(folders)):
                        locks.enter_context(_lock(folder))
                    return [
                        read_manifest(folder, Manifest(entry.key, n_items))
                        for folder, entry in zip(folders, entries, strict=True)
                    ]

            # Of several processes of one run the first one locks, for all of them.
            manifests = from_first(read)
            writers = self._compute_missing(folders, manifests, compute)
            with together(), self._explained():
                return [
                    _open(folder, manifest, was_computed=index in writers)
                    for index, (folder, manifest) in enumerate(zip(folders, manifests, strict=True))
                ]

    def _compute_missing(
        self,
        folders: Sequence[Path],
        manifests: Sequence[Manifest],
        compute: Callable[[Mapping[int, ShardWriter]], None],
    ) -> Mapping[int, ShardWriter]:
        """Complete entries, each process its share of the items; returns this one's writers."""
        missing = {i: found for i, one in enumerate(manifests) if (found := set(one.missing()))}
        if not missing:
            return {}
        items = share(sorted(set().union(*missing.values())))
        process = rank() if n_processes() > 1 else None
        with together(), self._explained():
            writers = {
                i: ShardWriter(folders[i], manifests[i], [j for j in items if j in found], process)
                for i, found in missing.items()
            }
            compute(writers)
            for writer in writers.values():
                writer.close()
        written = gather({i: writer.shards for i, writer in writers.items()})
        for i in writers:
            manifests[i].unite(shards[i] for shards in written)
        if process is not None:
            from_first(lambda: self._write_united({folders[i]: manifests[i] for i in writers}))
        return writers

    def _write_united(self, manifests: Mapping[Path, Manifest]) -> None:
        with self._explained():
            for folder, manifest in manifests.items():
                write_united(folder, manifest)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = (
                f"The feature cache {self.cache_dir} cannot be written: {error}. What is "
                "complete stays, and the next run goes on from there. Free some space (python -m "
                "fre_lightning.cache lists what is there), or choose another paths.cache_dir=DIR."
            )
            kind = _DeletedError if isinstance(error, FileNotFoundError) else CacheError
            raise kind(msg) from error

    def log_size(self, least: int = 5 * 10**9) -> None:
        """Say how large the folder is, if it takes at least so many bytes."""
        n_bytes = size_of(self.cache_dir)
        if n_bytes >= least:
            log.info(
                "The feature cache %s takes %.1f GB; see python -m fre_lightning.cache --help.",
                self.cache_dir,
                n_bytes / 1e9,
            )


def _folder_name(entry: CacheEntry) -> str:
    digest = hashlib.sha256(json.dumps(entry.key, sort_keys=True).encode()).hexdigest()[:16]
    return f"{entry.name.replace('/', '-')}-{digest}"


def _open(folder: Path, manifest: Manifest, *, was_computed: bool) -> CachedRows:
    stored = [shard.file for shard in manifest.shards if shard.file]
    if not stored:
        shutil.rmtree(folder, ignore_errors=True)  # the next run will say of each image why
        msg = "None of the images can be read; see the warnings above."
        raise CacheError(msg)
    mark_used(folder)
    shards = [np.load(folder / file, mmap_mode="r") for file in stored]
    skipped = [item for shard in manifest.shards for item in shard.skipped]
    indices = sorted(set(range(manifest.n_items)) - set(skipped))
    return CachedRows(shards, indices, skipped, was_computed)


def _lock(folder: Path) -> contextlib.AbstractContextManager[object]:
    lock = lock_of(folder)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        log.info("Another process is computing %s; waiting for it.", folder.name)
        return lock.acquire()
    except OSError:
        if os.access(folder.parent, os.W_OK):
            raise
        return contextlib.nullcontext()  # whole entries of a cache for reading only need no lock
