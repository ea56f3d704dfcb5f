"""The lock of a cache entry: a file beside its folder."""

from pathlib import Path

from filelock import FileLock

SUFFIX = ".lock"


def lock_of(folder: Path) -> FileLock:
    """The lock that a process holds while it computes, opens or removes an entry.

    Its file may be removed by who holds it: others that wait for it then make a new one.
    """
    return FileLock(folder.with_name(folder.name + SUFFIX))
