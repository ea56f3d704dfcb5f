"""What a cache holds, as a table for people."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich import filesize
from rich.markup import escape
from rich.table import Table

from fre_lightning.features.inventory import OTHERS, StoredItem


def inventory_table(items: Sequence[StoredItem], now: float) -> Table:
    """A row for each entry, and one for each kind of what else is kept.

    Args:
        items: At least one.
        now: The time, in seconds since the epoch.
    """
    table = Table(show_footer=True)
    for title in ("images of", "backbone", "layer"):
        table.add_column(title, overflow="fold")
    for title in ("images", "size", "last\nuse"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("whole", no_wrap=True)
    entries = [item for item in items if item.name not in OTHERS]
    for item in sorted(entries, key=lambda item: (item.name, item.backbone, item.layer)):
        state = "in use" if item.is_locked else "yes" if item.is_complete else "no"
        table.add_row(*_row(item.name, item.backbone, item.layer, [item], now), state)
    others = sorted((item for item in items if item.name in OTHERS), key=lambda item: item.name)
    for name, group in groupby(others, key=lambda item: item.name):
        parts = list(group)
        table.add_row(*_row(f"other: {name} ({len(parts)})", "", "", parts, now), "")
    table.columns[0].footer = "total"
    table.columns[4].footer = size_text(sum(item.n_bytes for item in items))
    return table


def _row(
    name: str, backbone: str, layer: str, items: Iterable[StoredItem], now: float
) -> tuple[str, ...]:
    items = list(items)
    n_images = sum(item.n_images for item in items)
    size = size_text(sum(item.n_bytes for item in items))
    age = age_text(now - max(item.used for item in items))
    return escape(name), escape(backbone), escape(layer), str(n_images or ""), size, age


def size_text(n_bytes: float) -> str:
    """`1.2 GB`, of powers of ten."""
    return filesize.decimal(round(n_bytes))


def age_text(seconds: float) -> str:
    """`12 min`, `5 h` or `30 d`; a time in the future is `0 min`."""
    minutes = max(0.0, seconds) / 60
    if minutes < 60:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"
