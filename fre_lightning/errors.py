"""How commands end early: by errors that the user can fix, and by stops.

The message of an error says what is wrong and what to do next.
"""

import contextlib
import difflib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Self

from fre_lightning.rank import WORKER


class FREError(Exception):
    """Base class: the command line prints the message without a traceback and exits with code 2."""

    @property
    def summary(self) -> str:
        """The first sentence of the message: what is wrong, without the advice."""
        return str(self).partition(". ")[0]


class DatasetError(FREError):
    """A wrong folder, category, mask or number of images."""


class UnreadableImageError(DatasetError):
    """An image that cannot be decoded."""


class BackboneError(FREError):
    """An unknown network or layer, or missing or unsuitable weights."""


class FeatureError(FREError):
    """Features without a subspace: NaN, or too few images."""


class CacheError(FREError):
    """A feature cache that cannot be written."""


class CheckpointError(FREError):
    """A missing checkpoint, or one that this program did not write."""


class OutputError(FREError):
    """Results that cannot be written."""


class ConfigError(FREError):
    """A setting that is out of range or contradicts another."""


class ReportError(FREError):
    """A report on a folder without runs, or on damaged files."""


class ExportError(FREError):
    """A detector that cannot be exported, or an export with other scores."""


@contextlib.contextmanager
def explaining_full_disks() -> Iterator[None]:
    """Make an `OutputError` of a disk that is full, or for reading only, wherever it shows.

    Raises:
        OutputError: Instead of that `OSError`; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        msg = (
            f"What this command makes cannot be written: {error}. Free some space, or choose other "
            "folders (hydra.run.dir=DIR, and TMPDIR in the environment); then start it again."
        )
        raise OutputError(msg) from error


_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A sentence, with a space before it, that lists the words most like one; or nothing."""
    matches = difflib.get_close_matches(word, [*words], n=5, cutoff=0.5)
    return f" Did you mean {', '.join(matches)}?" if matches else ""


class Stops:
    """Ctrl-C and SIGTERM: while the body of `with` runs, they end the program with 130 or 143.

    The first one raises `SystemExit`, the second is ignored, for terminals and wrappers send two;
    the third ends the program on the spot. Whatever exception a library makes of the first, the
    body ends with `SystemExit` and its code; a body that catches it may go on to its own end.

    Args:
        in_order: Whether the body has something to clear up from its start. If not, a stop before
            the first `work` ends the program on the spot, because imports swallow exceptions or
            print them; and between two `work`, where Hydra composes a job's configuration and an
            exception would leave its objects broken, a stop waits for the second.
    """

    def __init__(self, *, in_order: bool) -> None:
        self._in_order = self._raises = in_order
        self._code: int | None = None
        self._numbers = count(1)
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error and self._code is not None and getattr(error, "code", None) != self._code:
            raise SystemExit(self._code) from error

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Let a stop raise `SystemExit` in this block, or at its start if it came before."""
        self.raise_from_now_on()
        try:
            if self._code is not None:
                raise SystemExit(self._code)
            yield
        finally:
            self._raises = False

    def raise_from_now_on(self) -> None:
        """Let a stop raise `SystemExit` wherever it comes."""
        self._in_order = self._raises = True

    def _stop(self, signal_number: int, _: object) -> None:
        code = 128 + signal_number  # as shells report it
        number = next(self._numbers) if self._in_order else 0
        if number == 1:
            self._code = code
            if WORKER not in os.environ:  # else the process that started this one says it
                with contextlib.suppress(OSError):  # Python's own may be in the middle of a line
                    os.write(2, _STOPPED)
            if self._raises:
                raise SystemExit(code)
        elif number != 2:
            os._exit(code)


def exit_code_of(work: Callable[[], object]) -> int:
    """Do the work of a command: 0, or 2 after an error that its message explains."""
    try:
        with Stops(in_order=True):
            work()
    except FREError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


_STOPPED = b"\nStopped. What was finished is kept; start the same command again to go on.\n"
