"""What a cache folder holds: entries of features and masks, and what else is kept there."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from fre_lightning.features.locks import SUFFIX, lock_of

OTHERS = ("images", "intensity", "openvino")
"""Folders of the cache with images from memory, ranges of levels and converted networks."""

_ENTRY = re.compile(r"(.+)-[0-9a-f]{16}")
_ENTRY_FILES = (".json", ".npy", ".tmp")


@dataclass(frozen=True)
class StoredItem:
    """Something that the cache keeps, and that may be removed without the rest.

    Attributes:
        path: A folder or a file.
        name: Of features and masks the category and the split; of others the folder they lie in.
        backbone: Of features; else empty.
        layer: Of features; else empty.
        n_images: The number of images stored or left out.
        n_bytes: Its size.
        used: The time of its last use or last write, in seconds since the epoch.
        is_complete: Whether nothing of it is missing.
        is_locked: Whether a process is computing or opening it.
    """

    path: Path
    name: str
    backbone: str = ""
    layer: str = ""
    n_images: int = 0
    n_bytes: int = 0
    used: float = 0.0
    is_complete: bool = True
    is_locked: bool = False


def take_inventory(cache_dir: Path) -> list[StoredItem]:
    """List what a cache holds, by name; whatever this program did not put there is left out."""
    items: list[StoredItem] = []
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(cache_dir.iterdir()):
            with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                items += _items_of(path)
    return items


def find_orphan_locks(cache_dir: Path) -> list[Path]:
    """The places of removed entries whose locks are left."""
    with contextlib.suppress(FileNotFoundError):
        folders = [lock.with_suffix("") for lock in cache_dir.glob(f"*{SUFFIX}")]
        return [path for path in folders if _ENTRY.fullmatch(path.name) and not path.exists()]
    return []


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files of a folder that are there."""
    if not path.is_dir():
        return path.lstat().st_size
    n_bytes = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):  # another process may remove it
                n_bytes += (Path(folder) / name).lstat().st_size
    return n_bytes


def _items_of(path: Path) -> Iterator[StoredItem]:
    if path.is_symlink() or not path.is_dir():
        return
    if path.name in OTHERS:
        for part in sorted(path.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                yield _other(path.name, part)
    elif (match := _ENTRY.fullmatch(path.name)) and all(
        file.suffix in _ENTRY_FILES for file in path.iterdir()
    ):
        yield _entry(path, match[1])


def _other(name: str, path: Path) -> StoredItem:
    n_images = len(list(path.glob("*.npy"))) if path.is_dir() else 0
    return StoredItem(
        path, name, n_images=n_images, n_bytes=size_of(path), used=path.lstat().st_mtime
    )


def _entry(path: Path, name: str) -> StoredItem:
    key, n_items, n_done = _read_manifests(path)
    backbone, layer = str(key.get("backbone", "")), str(key.get("layer", ""))
    return StoredItem(
        path,
        name.removesuffix(f"-{backbone}-{layer}".replace("/", "-")),
        backbone,
        layer,
        n_done,
        size_of(path),
        path.stat().st_mtime,
        is_complete=0 < n_items <= n_done,
        is_locked=_is_locked(path),
    )


def _read_manifests(folder: Path) -> tuple[Mapping[str, Any], int, int]:
    """The key, and how many items an entry has and stores; what cannot be read counts as empty."""
    key: Mapping[str, Any] = {}
    n_items, stops = 0, {}  # a killed run of several processes may leave a shard in two manifests
    for path in folder.glob("manifest*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            content = json.loads(path.read_text(encoding="utf-8"))
            found = {int(shard["first"]): int(shard["stop"]) for shard in content["shards"]}
            key, n_items = dict(content["key"]), int(content["n_items"])
            stops.update(found)
    return key, n_items, sum(stop - first for first, stop in stops.items())


def _is_locked(folder: Path) -> bool:
    lock = lock_of(folder)
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a cache that this process may only read
        return False
