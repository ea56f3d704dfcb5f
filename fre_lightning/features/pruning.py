"""Which parts of a cache may go, and their removal beside processes that use it."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from filelock import Timeout

from fre_lightning.features.inventory import StoredItem
from fre_lightning.features.locks import lock_of

RECENT = 3600.0
"""Seconds for which what was used is spared whatever the cache's size: its run may still go on."""


def choose_to_remove(
    items: Sequence[StoredItem], now: float, max_age: float | None, max_bytes: float | None
) -> list[StoredItem]:
    """What goes: what was not used for long, then what was not used for longest.

    Args:
        items: All that the cache holds.
        now: The time, in seconds since the epoch.
        max_age: What was last used longer ago goes, seconds; None: nothing for its age.
        max_bytes: The size that is left at most; None: nothing for its size. What was used within
            `RECENT` stays.

    Returns:
        What goes, least recently used first; nothing that is locked.
    """
    left = sum(item.n_bytes for item in items)
    going = []
    for item in sorted(items, key=lambda item: item.used):
        age = now - item.used
        is_old = max_age is not None and age > max_age
        is_much = max_bytes is not None and left > max_bytes and age > RECENT
        if not item.is_locked and (is_old or is_much):
            going.append(item)
            left -= item.n_bytes
    return going


def remove(path: Path) -> bool:
    """Remove a folder or a file of the cache; False if a process has it locked.

    An entry is removed under its lock, and the lock's file with it. Who has an entry mapped into
    memory keeps it; who opens it next finds nothing, and computes it.

    Raises:
        OSError: If it cannot be removed.
    """
    lock = lock_of(path)
    try:
        with lock.acquire(timeout=0):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                Path(lock.lock_file).unlink()
    except Timeout:
        return False
    return True
