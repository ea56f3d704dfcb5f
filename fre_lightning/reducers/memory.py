"""Memory that this process has freed and the system does not have back."""

import ctypes
import sys
from contextlib import suppress


def release() -> None:
    """Give it back: glibc keeps pieces of less than 32 MiB, and blocks of features add up.

    Elsewhere than on Linux with glibc nothing is done.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
