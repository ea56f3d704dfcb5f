"""Files that are either whole or not there, what identifies them, and where results go."""

import contextlib
import io
import json
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TextIO

from fre_lightning.errors import OutputError

_BLOCK = 4096


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the body raises no error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, *, deep: bool = True) -> None:
    """Remove temporary files that killed processes left, from a folder that one process writes.

    Args:
        folder: The folder.
        deep: Whether its sub-folders are that process's, too.
    """
    pattern = ".*.[0-9]*.tmp"  # as `replacing` names them
    for path in folder.rglob(pattern) if deep else folder.glob(pattern):
        path.unlink(missing_ok=True)


def mark_used(path: Path) -> None:
    """Give a file or a folder the time of its last use, by which caches are pruned."""
    with contextlib.suppress(OSError):  # it may be for reading only
        os.utime(path)


def open_text(path: Path, mode: Literal["r", "w", "a"] = "r") -> TextIO:
    """Open a text file; the bytes of file names that are no valid text stay as they are."""
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with replacing(path) as temporary, open_text(temporary, "w") as stream:
        stream.write(text)


def visible(text: str) -> str:
    """A text with an escape in place of each byte of a file name that is no valid text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def print_any_name() -> None:
    """Let a program print names that its terminal's encoding does not have, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_json(path: Path, content: object) -> None:
    """Write an object as JSON, readable by people."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def make_output_dir(path: str) -> Path:
    """Make the folder for results, if it isn't there.

    Raises:
        OutputError: If it cannot be made.
    """
    output_dir = Path(path).expanduser()
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{output_dir} cannot be made ({error.strerror}). Choose another paths.output_dir."
        raise OutputError(msg) from error
    return output_dir


def relative_path(path: Path, root: Path) -> Path:
    """`path` within `root`, or the whole path without its first slash if it lies elsewhere.

    Two files never get one name, and none leads out of a folder that it is appended to.
    """
    path, root = (Path(os.path.abspath(p)) for p in (path, root))  # noqa: PTH100 - links stay
    return path.relative_to(root if path.is_relative_to(root) else path.anchor)


def file_key(path: Path, root: Path) -> list[object]:
    """Name, size, time and content of a file: a cache key's part for what is computed from it.

    Of the content three blocks are read: sizes and times alone are equal where images have no
    compression, and where a tool sets all times.
    """
    status, content = path.stat(), 0
    # A file that cannot be read is told of when it is decoded.
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as stream:
        for start in (0, status.st_size // 2, max(0, status.st_size - _BLOCK)):
            stream.seek(start)
            content = zlib.crc32(stream.read(_BLOCK), content)
    return [relative_path(path, root).as_posix(), status.st_size, status.st_mtime_ns, content]
