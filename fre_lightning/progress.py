"""Progress bars that suit a terminal and a notebook, and stay away from files and pipes."""

import multiprocessing
import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

from fre_lightning.rank import is_first

Item = TypeVar("Item")


def in_notebook() -> bool:
    """Whether this is a notebook's kernel, whose output a browser shows."""
    ipython = sys.modules.get("IPython")  # imported if this is one
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


def progress(
    items: Iterable[Item], title: str, total: int | None = None, *, unit: str = "it"
) -> "tqdm[Item]":
    """A bar over some items, to be iterated instead of them.

    Args:
        items: What is worked on.
        title: What is done with them.
        total: Their number, if `len(items)` does not say.
        unit: What one of them is called.
    """
    if not in_notebook():
        # Jobs in processes of their own would draw over each other; None: unless it is a terminal.
        hidden = True if multiprocessing.parent_process() or not is_first() else None
        return tqdm(items, title, total, unit=unit, disable=hidden)
    # Text, as in a terminal: widgets need a package that few have, and saved notebooks lose them.
    return tqdm(items, title, total, unit=unit, file=sys.stdout, ncols=80, leave=False)
