"""One job of `fre_lightning.cache`: list it, remove what was not used for long."""

import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from fre_lightning.cache.table import inventory_table, size_text
from fre_lightning.errors import CacheError, ConfigError
from fre_lightning.features.inventory import StoredItem, find_orphan_locks, take_inventory
from fre_lightning.features.pruning import choose_to_remove, remove
from fre_lightning.progress import progress

_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def run(cfg: DictConfig) -> dict[str, Any]:
    """List, prune, print.

    Args:
        cfg: As composed from `configs/cache.yaml`.

    Returns:
        The paths that were removed, or would be; the bytes left, or that would be left.

    Raises:
        FREError: For any error that the user can fix.
    """
    cache_dir = Path(cfg.paths.cache_dir).expanduser()
    max_age, max_bytes = read_age(cfg.older_than), read_size(cfg.max_gb)
    now, console = time.time(), Console()
    try:
        items = take_inventory(cache_dir)
        going = choose_to_remove(items, now, max_age, max_bytes)
        kept = [] if cfg.dry_run else _remove_all(going)
        if not cfg.dry_run and (max_age, max_bytes) != (None, None):
            for path in find_orphan_locks(cache_dir):
                remove(path)
    except OSError as error:
        msg = f"The feature cache {cache_dir} cannot be pruned: {error}. Ask who owns it."
        raise CacheError(msg) from error
    gone = [item for item in going if item not in kept]
    left = sum(item.n_bytes for item in items if item not in gone)
    prunes = max_age is not None or max_bytes is not None
    shown = gone if prunes else items
    if shown:
        console.print(inventory_table(shown, now))
    text = f"{cache_dir} holds {size_text(left)}."
    if prunes:
        verb = "Would remove" if cfg.dry_run else "Removed"
        freed = size_text(sum(item.n_bytes for item in gone))
        text = f"{verb} {_count(gone)}, {freed}; {size_text(left)} left in {cache_dir}."
    console.print(text, soft_wrap=True, highlight=False)
    if prunes:
        _print_kept(console, items, left, max_bytes)
    return {"removed": [str(item.path) for item in gone], "bytes_left": left}


def read_age(text: object) -> float | None:
    """The seconds of `12h`, `30d` or `4w`; None of None.

    Raises:
        ConfigError: If it is no such time.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", str(text).strip())
    if not match:
        msg = f"older_than={text} is no time. Give hours, days or weeks: 12h, 30d or 4w."
        raise ConfigError(msg)
    return float(match[1]) * _SECONDS[match[2]]


def read_size(gigabytes: object) -> float | None:
    """The bytes of so many GB (10^9); None of None.

    Raises:
        ConfigError: If it is no number, or below zero.
    """
    if gigabytes is None:
        return None
    try:
        size = float(str(gigabytes))
    except ValueError:
        size = math.nan
    if isinstance(gigabytes, bool) or not 0 <= size < math.inf:
        msg = f"max_gb={gigabytes} is no size. Give a number of GB, such as 50 or 0.5."
        raise ConfigError(msg)
    return size * 1e9


def _remove_all(items: Sequence[StoredItem]) -> list[StoredItem]:
    """Remove what was chosen; gives what a process has locked meanwhile."""
    return [item for item in progress(items, "Removing") if not remove(item.path)]


def _print_kept(
    console: Console, items: Sequence[StoredItem], left: int, max_bytes: float | None
) -> None:
    locked = [item.path.name for item in items if item.is_locked]
    if locked:
        text = f"In use by running processes, and kept: {', '.join(locked)}."
        console.print(text, soft_wrap=True, highlight=False)
    if max_bytes is not None and left > max_bytes:
        text = (
            f"That is more than {size_text(max_bytes)}: the rest is in use, or was within an hour."
        )
        console.print(text, soft_wrap=True, highlight=False)


def _count(items: Sequence[StoredItem]) -> str:
    return "1 item" if len(items) == 1 else f"{len(items)} items"
