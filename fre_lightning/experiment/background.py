"""One task at a time beside the main work: pictures of a run, drawn while the next one computes."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

log = logging.getLogger(__name__)

_thread = ThreadPoolExecutor(1, "background")
_tasks: list[Future[None]] = []


def start(task: Callable[[], None]) -> None:
    """Start a task once the one before it has ended, so that they do not pile up in memory."""
    wait()
    _tasks.append(_thread.submit(task))


def wait() -> None:
    """Wait for the task that was started. An error is logged: its run has ended long before."""
    while _tasks:
        error = _tasks.pop().exception()
        if error is not None:
            log.error(
                "The pictures of the last run could not be written: %s", error, exc_info=error
            )
