"""Work done ahead in threads, handed over in batches of whatever has come in."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeVar

from fre_lightning.threads import thread_pool

Item = TypeVar("Item")
Value = TypeVar("Value")


class _End(NamedTuple):
    """After the last item.

    Attributes:
        error: What the iterable raised, if it did.
    """

    error: BaseException | None


def read_ahead(
    function: Callable[[Item], Value], items: Iterable[Item], batch_size: int, n_threads: int
) -> Iterator[list[tuple[Item, Future[Value]]]]:
    """Apply a function to items ahead of their use, in order.

    A batch is full where items come faster than batches are used, and else holds those that have
    come: an item that comes alone waits for no other. The items are drawn in a thread.

    Args:
        function: Called from threads.
        items: Any number; at most two batches are ahead.
        batch_size: Of the largest batch.
        n_threads: How many calls run at the same time.

    Yields:
        One to `batch_size` items with what becomes of them, which may still have to be waited for;
        to be used before the next batch is asked for.
    """
    line: SimpleQueue[tuple[Item, Future[Value]] | _End] = SimpleQueue()
    room = threading.Semaphore(2 * batch_size)
    stopped = threading.Event()

    def admitted() -> Iterator[Item]:
        for item in items:
            room.acquire()
            if stopped.is_set():
                return
            yield item

    with thread_pool(n_threads, "decode") as pool:
        feed = partial(_feed, admitted(), lambda item: pool.submit(function, item), line)
        # A daemon, for it may be waiting for input when the program ends.
        threading.Thread(target=feed, name="feed", daemon=True).start()
        try:
            end: _End | None = None
            while end is None:
                batch, end = _take(line, batch_size)
                if batch:
                    yield batch
                    room.release(len(batch))
            if end.error is not None:
                raise end.error
        finally:
            stopped.set()
            room.release()


def _feed(
    items: Iterable[Item],
    submit: Callable[[Item], Future[Value]],
    line: SimpleQueue[tuple[Item, Future[Value]] | _End],
) -> None:
    """Put items in line with what becomes of them, and then the end."""
    error: BaseException | None = None
    try:
        for item in items:
            line.put((item, submit(item)))
    except BaseException as raised:  # noqa: BLE001 - it is raised where items are used
        error = raised
    line.put(_End(error))


def _take(
    line: SimpleQueue[tuple[Item, Future[Value]] | _End], batch_size: int
) -> tuple[list[tuple[Item, Future[Value]]], _End | None]:
    """Wait for an item, and take those behind it that are there."""
    batch: list[tuple[Item, Future[Value]]] = []
    entry = line.get()
    while not isinstance(entry, _End):
        batch.append(entry)
        if len(batch) == batch_size:
            return batch, None
        try:
            entry = line.get_nowait()
        except Empty:
            return batch, None
    return batch, entry
