"""Images that come into a folder: each is judged once, when it is whole."""

import logging
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import watchfiles

from fre_lightning.datasets.listing import is_image_name, is_listed, walk_images
from fre_lightning.detector.judge import Judged
from fre_lightning.errors import ConfigError, DatasetError

log = logging.getLogger(__name__)

_SETTLE_SECONDS = 0.3  # a file that hasn't changed for as long may be whole
_RETRY_SECONDS = 1.0  # before a file that could not be read is tried again
_TIMEOUT_SECONDS = 30.0  # a file that can't be read and hasn't changed for as long never will
_LIST_SECONDS = 60.0  # between looks at all files, for systems lose some notices of changes
_TICK_MS = 100
_POLL_MS = 1000


class Stamp(NamedTuple):
    """What tells a file from its successor: time of modification in nanoseconds, and size."""

    modified_ns: int
    size: int

    @property
    def modified(self) -> str:
        """The time in seconds since 1970, with all digits."""
        seconds, rest = divmod(self.modified_ns, 10**9)
        return f"{seconds}.{rest:09d}"


@dataclass(frozen=True)
class Arrival(os.PathLike[str]):
    """A file that came, as it was then.

    Attributes:
        path: Absolute.
        stamp: Of its content.
        seen: When it was first seen since it was last judged, by the monotonic clock.
        changed: When this stamp was first seen.
        due: When it may be whole.
    """

    path: str
    stamp: Stamp
    seen: float
    changed: float
    due: float

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path


class FolderWatcher:
    """Yields the images of a folder and its sub-folders, and those that come, until it is closed.

    A file is judged once it has not changed for a moment and can be decoded; until then it is
    waited for, and holds up no other. One that is replaced, or written again, is judged again. If
    the folder disappears, as network drives do, it is waited for.

    Args:
        folder: The folder.
        poll: Whether to look for changes, where the system does not tell of them.
    """

    def __init__(self, folder: str, *, poll: bool) -> None:
        self.folder = os.path.abspath(folder)  # noqa: PTH100 - links stay
        self._poll = poll
        self._pending: dict[str, Arrival] = {}
        self._judged: dict[str, str] = {}  # the time of modification of what was handed out
        self._returned: SimpleQueue[Arrival] = SimpleQueue()
        self._stop, self._ended = threading.Event(), threading.Event()
        self._ended.set()
        self._trouble: str | None = None

    def skip(self, path: str, modified: str) -> None:
        """Count a file as judged, unless it was modified since; for use before `arrivals`."""
        self._judged[path] = modified

    def arrivals(self) -> Iterator[Arrival]:
        """Yield files that may be whole; to be run in one thread."""
        self._ended.clear()
        try:
            while not self._stop.is_set():
                try:
                    yield from self._watch()
                except (OSError, RuntimeError, DatasetError) as error:
                    self._get_over(error)
        finally:
            self._ended.set()

    def postpone(self, outcome: Judged[Any]) -> bool:
        """Whether an outcome does not count, because the file was not whole and comes again."""
        arrival = outcome.image
        if not isinstance(arrival, Arrival):
            return False
        try:
            is_same, is_there = _stamp(Path(arrival.path).stat()) == arrival.stamp, True
        except OSError:
            is_same, is_there = True, Path(self.folder).is_dir()
        if outcome.result is not None:
            # What is written without a pause is judged now and then.
            is_late = time.monotonic() - arrival.seen > _TIMEOUT_SECONDS
            comes_again = not is_same and not is_late
        else:
            is_late = time.monotonic() - arrival.changed > _TIMEOUT_SECONDS
            comes_again = not (is_there and is_same and is_late)
            if not comes_again:
                seconds = int(_TIMEOUT_SECONDS)
                log.warning("%s has not become readable in %d seconds.", arrival, seconds)
        if comes_again:
            self._returned.put(arrival)
        return comes_again

    def close(self) -> None:
        """End `arrivals`, and wait for it: its thread must not be cut off in foreign code."""
        self._stop.set()
        self._ended.wait(10)

    def _watch(self) -> Iterator[Arrival]:
        """Yield files as long as the folder is the same.

        Raises:
            OSError: If it has gone.
            RuntimeError: If the system does not tell of changes.
            DatasetError: If it cannot be listed.
        """
        folder, list_at = Path(self.folder).stat(), 0.0
        for changes in watchfiles.watch(
            self.folder,
            watch_filter=None,
            debounce=_TICK_MS,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            force_polling=self._poll or None,
            poll_delay_ms=_POLL_MS,
            ignore_permission_denied=True,
        ):
            if not os.path.samestat(folder, Path(self.folder).stat()):
                return
            if (now := time.monotonic()) >= list_at:
                list_at = now + _LIST_SECONDS
                self._look_below(self.folder)
                self._say(None)
            for _, path in sorted(changes):
                if is_listed(path, self.folder):
                    self._look(path)
            yield from self._whole()

    def _get_over(self, error: Exception) -> None:
        """Wait for the folder, or look for changes if the system does not tell of them."""
        reason = getattr(error, "strerror", None) or error
        lasts = isinstance(error, FileNotFoundError | DatasetError) or self._poll
        if lasts or not Path(self.folder).is_dir():
            self._say(f"{self.folder} is waited for ({reason}).")
            self._stop.wait(_POLL_MS / 1000)
        else:
            log.warning("The system tells of no changes (%s); watch=poll from now on.", reason)
            self._poll = True

    def _say(self, trouble: str | None) -> None:
        """Tell of trouble, and of its end, once."""
        if (trouble is None) != (self._trouble is None):
            log.warning("%s", trouble or f"{self.folder} is there again.")
            self._trouble = trouble

    def _look_below(self, folder: str) -> None:
        for path in walk_images(folder):
            self._look(path)

    def _look(self, path: str) -> None:
        """Note a file if it is new or has changed, and forget it if it has gone."""
        try:
            status = Path(path).stat()
        except OSError:
            self._pending.pop(path, None)
            return
        if stat.S_ISDIR(status.st_mode):  # a folder that comes tells nothing of its files
            self._look_below(path)
            return
        stamp, known = _stamp(status), self._pending.get(path)
        is_known = known.stamp == stamp if known else self._judged.get(path) == stamp.modified
        if is_image_name(path) and not is_known:
            now = time.monotonic()
            seen = known.seen if known else now
            due = min(now + _SETTLE_SECONDS, max(seen + _TIMEOUT_SECONDS, now))
            self._pending[path] = Arrival(path, stamp, seen, now, due)

    def _whole(self) -> Iterator[Arrival]:
        """Yield what may be whole."""
        self._take_back()
        for path in [*self._pending]:
            self._look(path)
            arrival = self._pending.get(path)
            if arrival and arrival.due <= time.monotonic() and not self._stop.is_set():
                del self._pending[path]
                self._judged[path] = arrival.stamp.modified
                yield arrival

    def _take_back(self) -> None:
        """Wait again for what was postponed, unless its successor is on its way."""
        while True:
            try:
                old = self._returned.get_nowait()
            except Empty:
                return
            if self._judged.get(old.path) == old.stamp.modified:
                del self._judged[old.path]
                now = time.monotonic()
                due = now + max(_RETRY_SECONDS, now - old.changed)  # seldomer and seldomer
                self._pending.setdefault(old.path, replace(old, due=due))


def make_watcher(source: str | Sequence[str], watch: bool | str) -> FolderWatcher:
    """A watcher for the settings `input` and `watch`.

    Raises:
        ConfigError: If `watch` is not true or `poll`.
        DatasetError: If `input` is not one folder.
    """
    if watch is not True and watch != "poll":
        msg = f"watch={watch} must be false, true or poll."
        raise ConfigError(msg)
    folder = Path(source).expanduser() if isinstance(source, str) else None
    if folder is None or not folder.is_dir():
        msg = f"input={source} is no folder, and watch={watch} takes one. Correct input."
        raise DatasetError(msg)
    return FolderWatcher(str(folder), poll=watch == "poll")


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_mtime_ns, status.st_size)
