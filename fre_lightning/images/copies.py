"""Files of the same content, found by size, then by parts of them, then by all of them."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from fre_lightning.files import file_key


def find_copies(paths: Sequence[Path]) -> list[list[Path]]:
    """Groups of two or more files with the same content, each in the order of `paths`.

    Most files differ in size, so that few are read.
    """
    groups = [list(dict.fromkeys(paths))]
    for identify in (_size, _parts, _content):
        groups = [same for group in groups for same in _split(group, identify)]
    return groups


def _split(paths: Iterable[Path], identify: Callable[[Path], Hashable]) -> list[list[Path]]:
    by_key = defaultdict(list)
    for path in paths:
        try:
            by_key[identify(path)].append(path)
        except OSError:  # told of when the image is decoded
            continue
    return [group for group in by_key.values() if len(group) > 1]


def _size(path: Path) -> Hashable:
    return path.stat().st_size


def _parts(path: Path) -> Hashable:
    return file_key(path, path.parent)[-1]


def _content(path: Path) -> Hashable:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
