"""Threads on the CPU: one core per image, or all cores within an operation."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import torch

Item = TypeVar("Item")
Value = TypeVar("Value")


def default_n_threads() -> int:
    """One thread per usable core, at most 16; or `OMP_NUM_THREADS`.

    Launchers set that variable where several processes share the cores, and torch obeys it, too.
    """
    with suppress(KeyError, ValueError):
        return max(1, int(os.environ["OMP_NUM_THREADS"].partition(",")[0]))
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return within_quota(min(n_cores or 1, 16))


def within_quota(n_threads: int, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """As many threads, or as many as the cores whose time a container may use, rounded up.

    Args:
        n_threads: Without a quota.
        cgroup: Where the kernel describes the container, in version 2 or 1 of its files.
    """
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        # Without a quota version 2 says `max`, which is no number, and version 1 says -1.
        with suppress(OSError, ValueError):
            text = " ".join((cgroup / name).read_text(encoding="ascii") for name in names)
            quota, period = map(int, text.split())
            if quota > 0:
                return min(n_threads, math.ceil(quota / period))
    return n_threads


@contextmanager
def intra_op_threads(n_threads: int) -> Iterator[None]:
    """While the body runs, torch uses `n_threads` threads within each operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def start_threads(n_threads: int, name: str) -> ThreadPoolExecutor:
    """Threads for independent work; torch uses one core in each."""
    return ThreadPoolExecutor(n_threads, name, initializer=torch.set_num_threads, initargs=(1,))


def end_threads(pool: ThreadPoolExecutor) -> None:
    """Cancel the waiting work, and end the threads after their present work."""
    pool.shutdown(cancel_futures=True)
    # `set_num_threads` in a worker also changes a number of the whole process: set it back.
    torch.set_num_threads(torch.get_num_threads())


@contextmanager
def thread_pool(n_threads: int, name: str = "worker") -> Iterator[ThreadPoolExecutor]:
    """`start_threads` while the body runs, then `end_threads`."""
    pool = start_threads(n_threads, name)
    try:
        yield pool
    finally:
        end_threads(pool)


def map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Value], items: Iterable[Item], n_ahead: int
) -> Iterator[Value]:
    """Yield the function's values in order, computed by the pool at most `n_ahead` items early.

    Unlike `pool.map` it draws items only as values are used, so `items` may be endless.
    """
    pending: deque[Future[Value]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > n_ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
