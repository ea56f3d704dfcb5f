"""How the cores of a CPU are shared: between images, or within the work on one of them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


def default_n_threads() -> int:
    """One thread per usable core, at most 16."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(n_cores or 1, 16)


@contextmanager
def intra_op_threads(n_threads: int) -> Iterator[None]:
    """Let torch use `n_threads` within each operation while the body runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def start_threads(n_threads: int, name: str) -> ThreadPoolExecutor:
    """Threads for independent work, each of which keeps to one core."""
    return ThreadPoolExecutor(n_threads, name, initializer=torch.set_num_threads, initargs=(1,))


def end_threads(pool: ThreadPoolExecutor) -> None:
    """End the threads after what they are doing just now."""
    pool.shutdown(cancel_futures=True)
    # Part of what they set is the process's, not theirs: give this thread its number back.
    torch.set_num_threads(torch.get_num_threads())


@contextmanager
def thread_pool(n_threads: int, name: str = "worker") -> Iterator[ThreadPoolExecutor]:
    """Threads for independent work, each of which keeps to one core, while the body runs."""
    pool = start_threads(n_threads, name)
    try:
        yield pool
    finally:
        end_threads(pool)
