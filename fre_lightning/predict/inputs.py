"""Which images are meant: folders, files, globs, lists of these, or lines of standard input."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from fre_lightning.datasets.base import IMAGE_SUFFIXES
from fre_lightning.errors import DatasetError

STANDARD_INPUT = "-"


class Inputs(NamedTuple):
    """Images to judge.

    Attributes:
        paths: Lists them, one by one; as given, for whoever joins tables on them.
        n_images: How many there are; None if that shows only at the end.
        root: The folder that they are in; None if they have none in common.
    """

    paths: Callable[[], Iterator[str]]
    n_images: int | None
    root: str | None


def find_inputs(source: str | Sequence[str]) -> Inputs:
    """Find images without keeping more than one folder's names in memory.

    Args:
        source: A folder (with all that is below it), an image, a glob, a list of these, or `-`
            for lines of standard input.

    Raises:
        DatasetError: If there is none, or a folder cannot be listed.
    """
    if source == STANDARD_INPUT:
        return Inputs(lambda: read_lines(0), None, None)
    sources = [source] if isinstance(source, str) else list(source)
    sources = [os.path.expanduser(entry) for entry in sources]  # noqa: PTH111 - stays a string

    def list_all() -> Iterator[str]:
        return chain.from_iterable(map(_expand, sources))

    n_images = sum(1 for _ in list_all())
    if not n_images:
        msg = (
            f"There is no image in input={', '.join(sources)}. Images end in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}; a glob needs quotes."
        )
        raise DatasetError(msg)
    return Inputs(list_all, n_images, _root(sources[0]) if len(sources) == 1 else None)


def read_lines(descriptor: int) -> Iterator[str]:
    """Lines of a file descriptor as soon as they are there, without line ends; empty ones left out.

    Python's own buffered streams hold a lock while they wait, on which the end of the program
    would stumble.
    """
    rest = b""
    while chunk := os.read(descriptor, 2**16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip())
    if rest.strip():
        yield os.fsdecode(rest.rstrip(b"\r"))


def walk_images(folder: str, ancestors: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """The image files in a folder and below, in order; hidden ones are left out.

    Args:
        folder: Links to folders are followed, unless they lead back.
        ancestors: Device and inode of the folders that this one is in.

    Raises:
        DatasetError: If a folder cannot be listed.
    """
    try:
        names, status = sorted(os.listdir(folder)), os.stat(folder)  # noqa: PTH116, PTH208
    except OSError as error:
        msg = f"The folder {folder} cannot be listed ({error.strerror})."
        raise DatasetError(msg) from error
    own = status.st_dev, status.st_ino
    if own in ancestors:
        return
    for name in names:
        path = os.path.join(folder, name)  # noqa: PTH118 - strings, for there may be millions
        if name.startswith("."):
            continue
        if os.path.isdir(path):  # noqa: PTH112
            yield from walk_images(path, (*ancestors, own))
        elif is_image_name(name):
            yield path


def is_image_name(name: str) -> bool:
    """Whether a file's name ends as those of images do."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _expand(source: str) -> Iterator[str]:
    """The images that one entry of `input` means."""
    if os.path.isdir(source):  # noqa: PTH112
        yield from walk_images(source)
    elif os.path.exists(source):  # noqa: PTH110
        yield source  # whatever its name, for it was named
    elif glob.has_magic(source):
        for path in sorted(glob.iglob(source, recursive=True)):  # noqa: PTH207
            if not os.path.isdir(path):  # noqa: PTH112
                yield from [path] if is_image_name(path) else []
            elif "**" not in source:  # which has listed what is below by itself
                yield from walk_images(path)
    else:
        msg = f"There is no file or folder {source}. Correct input."
        raise DatasetError(msg)


def _root(source: str) -> str:
    """The folder that an entry's images are in."""
    if os.path.isdir(source):  # noqa: PTH112
        return source
    while glob.has_magic(source) and not os.path.exists(source):  # noqa: PTH110
        source = os.path.dirname(source)  # noqa: PTH120
    return source if os.path.isdir(source) else os.path.dirname(source)  # noqa: PTH112, PTH120
