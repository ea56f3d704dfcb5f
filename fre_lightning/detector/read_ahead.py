"""Work done ahead in threads, handed over in batches of whatever has come in."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

from fre_lightning.threads import thread_pool

Item = TypeVar("Item")
Value = TypeVar("Value")


def read_ahead(
    function: Callable[[Item], Value], items: Iterable[Item], batch_size: int, n_threads: int
) -> Iterator[list[tuple[Item, Future[Value]]]]:
    """Apply a function to items ahead of their use, in order.

    If items come faster than batches are used, batches are full. Else a batch holds the items that
    have come: an item that comes alone waits for no other. The items are drawn in a thread.

    Args:
        function: Called from threads.
        items: Any number; at most two batches are ahead.
        batch_size: Size of a full batch.
        n_threads: Number of calls at a time.

    Yields:
        One to `batch_size` items with their futures; use them before asking for the next batch.

    Raises:
        BaseException: The error of `items`, after the items before it.
    """
    queue: SimpleQueue[tuple[Item, Future[Value]] | None] = SimpleQueue()  # None: no more
    errors: list[BaseException] = []
    room = threading.Semaphore(2 * batch_size)
    stopped = threading.Event()

    def feed() -> None:
        try:
            for item in items:
                room.acquire()
                if stopped.is_set():
                    return
                queue.put((item, pool.submit(function, item)))
        except BaseException as error:  # noqa: BLE001 - it is raised where items are used
            errors.append(error)
        finally:
            queue.put(None)

    with thread_pool(n_threads, "decode") as pool:
        # A daemon, for it may be waiting for input when the program ends.
        threading.Thread(target=feed, name="feed", daemon=True).start()
        entries = iter(queue.get, None)
        try:
            for first in entries:
                batch = [first, *islice(entries, min(queue.qsize(), batch_size - 1))]
                yield batch
                room.release(len(batch))
            if errors:
                raise errors[0]
        finally:
            stopped.set()
            room.release()
