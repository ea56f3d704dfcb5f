"""How the cores of a CPU are shared: between images, or within the work on one of them."""

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
    """Applies a function of images to a batch, some images to a thread, on the CPU.

    A core that works on its own image waits for nobody. Threads within an operation meet at the
    end of each one, which idles cores on small maps, and where other programs (or our decoders)
    take a core from time to time, holds up all of them.
    """

    def __init__(
        self, function: Callable[[Tensor], list[Tensor]], n_threads: int, n_together: int
    ) -> None:
        """Start the threads.

        Args:
            function: Maps `(n, ...)` to tensors `(n, ...)`, each image by itself; called from
                threads.
            n_threads: How many images are worked on at the same time, or groups of images.
            n_together: How many images a call gets at most.
        """
        self._function = function
        self._n_together = n_together
        self._pool = start_threads(n_threads, "compute")

    def __call__(self, images: Tensor) -> list[Tensor]:
        """The function's values for `(N, ...)` images."""
        # Both are settings of a thread, which the pool's threads would not know of.
        dtype, is_mixed = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

        def compute(part: Tensor) -> list[Tensor]:
            with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=is_mixed):
                return self._function(part)

        with intra_op_threads(1):
            parts = self._pool.map(compute, torch.split(images, self._n_together))
            return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def close(self) -> None:
        """End the threads."""
        end_threads(self._pool)
