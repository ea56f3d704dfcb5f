"""The setting `input` to paths of images: folders, files, globs, lists of them, standard input."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fre_lightning.datasets.listing import (
    IMAGE_SUFFIXES,
    is_image_name,
    is_listed,
    walk_images,
)
from fre_lightning.errors import DatasetError
from fre_lightning.predict.shard import Shard

STANDARD_INPUT = "-"


class Inputs(NamedTuple):
    """Images to judge.

    Attributes:
        paths: Yields the paths, spelled as in the setting, so that tables can be joined on them.
        n_images: Their number; None if it is unknown before the end.
        root: Their common folder; None if there is none.
    """

    paths: Callable[[], Iterator[str | os.PathLike[str]]]
    n_images: int | None
    root: str | None

    def part(self, shard: Shard) -> "Inputs":
        """The images of a shard."""
        n_images = None
        if self.n_images is not None:
            n_images = sum(1 for _ in shard.select(self.paths()))
        return Inputs(lambda: shard.select(self.paths()), n_images, self.root)


def find_inputs(source: str | Sequence[str]) -> Inputs:
    """Find images without keeping more than one folder's names in memory.

    Args:
        source: A folder (with all its sub-folders), an image, a glob, a list of these, or `-`
            for lines of standard input.

    Raises:
        DatasetError: If there is no image, or a folder cannot be listed.
    """
    if source == STANDARD_INPUT:
        return Inputs(lambda: read_lines(0), None, None)
    sources = [source] if isinstance(source, str) else list(source)
    sources = [os.path.expanduser(entry) for entry in sources]  # noqa: PTH111 - stays a string

    def list_all() -> Iterator[str]:
        return chain.from_iterable(map(_expand, sources))

    try:
        n_images = sum(1 for _ in list_all())
    except OSError as error:
        msg = f"input={', '.join(sources)} cannot be read ({error})."
        raise DatasetError(msg) from error
    if not n_images:
        msg = (
            f"There is no image in input={', '.join(sources)}. Images end in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}; a glob needs quotes."
        )
        raise DatasetError(msg)
    return Inputs(list_all, n_images, _root(sources[0]) if len(sources) == 1 else None)


def read_lines(descriptor: int) -> Iterator[str]:
    """Yield the lines of a file descriptor as soon as they arrive, except empty ones.

    Python's own streams hold a lock while they wait for input, and fail if the program ends then.
    """
    rest = b""
    while chunk := os.read(descriptor, 2**16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip())
    if rest.strip():
        yield os.fsdecode(rest.rstrip(b"\r"))


def _expand(source: str) -> Iterator[str]:
    """The images of one entry of `input`."""
    if Path(source).is_dir():
        yield from walk_images(source)
    elif Path(source).exists():
        yield source  # whatever its suffix, because the user named it
    elif glob.has_magic(source):
        root = _root(source)
        found = sorted(glob.iglob(source, recursive=True))  # noqa: PTH207 - as given
        for path in (path for path in found if is_listed(path, root)):
            if not Path(path).is_dir():
                yield from [path] if is_image_name(path) else []
            elif "**" not in source:  # `**` lists sub-folders by itself
                yield from walk_images(path)
    else:
        msg = f"There is no file or folder {source}. Correct input."
        raise DatasetError(msg)


def _root(source: str) -> str:
    """The folder of an entry's images."""
    path = Path(source)
    while glob.has_magic(str(path)) and not path.exists():
        path = path.parent
    return str(path if path.is_dir() else path.parent)
