"""Threads on the CPU: one core per image, or all cores within an operation."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Value = TypeVar("Value")


def default_n_threads() -> int:
    """One thread per usable core, at most 16."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(n_cores or 1, 16)


@contextmanager
def intra_op_threads(n_threads: int) -> Iterator[None]:
    """While the body runs, torch uses `n_threads` threads within each operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _start_threads(n_threads: int, name: str) -> ThreadPoolExecutor:
    """Threads for independent work; torch uses one core in each."""
    return ThreadPoolExecutor(n_threads, name, initializer=torch.set_num_threads, initargs=(1,))


def _end_threads(pool: ThreadPoolExecutor) -> None:
    """Cancel the waiting work, and end the threads after their present work."""
    pool.shutdown(cancel_futures=True)
    # `set_num_threads` in a worker also changes a number of the whole process: set it back.
    torch.set_num_threads(torch.get_num_threads())


@contextmanager
def thread_pool(n_threads: int, name: str = "worker") -> Iterator[ThreadPoolExecutor]:
    """`_start_threads` while the body runs, then `_end_threads`."""
    pool = _start_threads(n_threads, name)
    try:
        yield pool
    finally:
        _end_threads(pool)


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


class ImageParallel:
    """Applies a function to a batch of images on the CPU, a few images per thread.

    A core with an image of its own never waits for another core. Threads within an operation wait
    for each other at its end: small maps leave cores idle, and if another program (or our own
    decoder) takes a core for a moment, all others wait for it.
    """

    def __init__(
        self, function: Callable[[Tensor], list[Tensor]], n_threads: int, n_together: int
    ) -> None:
        """Start the threads.

        Args:
            function: Maps `(n, ...)` to tensors `(n, ...)`, each image by itself; called from
                threads.
            n_threads: Number of simultaneous calls.
            n_together: Largest number of images per call.
        """
        self._function = function
        self._n_together = n_together
        self._pool = _start_threads(n_threads, "compute")

    def __call__(self, images: Tensor) -> list[Tensor]:
        """The function's values for `(N, ...)` images."""
        # Both are settings of the calling thread, to be repeated in the pool's threads.
        dtype, is_mixed = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

        def compute(part: Tensor) -> list[Tensor]:
            with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=is_mixed):
                return self._function(part)

        with intra_op_threads(1):
            parts = self._pool.map(compute, torch.split(images, self._n_together))
            return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def close(self) -> None:
        """End the threads."""
        _end_threads(self._pool)
