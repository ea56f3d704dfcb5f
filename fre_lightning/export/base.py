"""The base class of file formats: how a recorded graph is written, and how its file is run."""

import importlib.util
import logging
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch.export import ExportedProgram

from fre_lightning.errors import ConfigError

Images = NDArray[Any]
"""`(N, H, W, 3)`: uint8, or float32 in the units of a range of levels."""
Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]
Runner = Callable[[Images], Outputs]
"""Maps images to scores `(N,)`, and to anomaly maps `(N, h, w)` or logits `(N, K)`."""

METADATA_KEY = "fre_lightning"
"""The key of the description, JSON, in a model file."""

_LONGEST = 200
"""Characters of another program's message."""


class Format(ABC):
    """A file format.

    A new format derives from it. `write` gets a graph in which the number of images is free, and
    their size too unless the graph resizes none or one size. The description goes into one of the
    files as JSON under `METADATA_KEY`; its `outputs` are the names of outputs, in their order.
    `load` gets the path of the first file.

    Attributes:
        name: Its name on the command line.
        files: The names of its files; the first is the one to load.
        packages: The packages that writing and checking need.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]] = ()

    def check_installed(self) -> None:
        """Check that the packages are installed.

        Raises:
            ConfigError: If one is missing.
        """
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            msg = (
                f"format={self.name} needs {', '.join(missing)}: "
                f"`pip install {' '.join(missing)}`, or choose format=torch_export."
            )
            raise ConfigError(msg)

    @abstractmethod
    def write(self, program: ExportedProgram, folder: Path, about: Mapping[str, Any]) -> None:
        """Write the files into a folder, with a description in them."""

    @abstractmethod
    def load(self, path: Path) -> Runner:
        """Load a file, to be run on the CPU in float32."""


def cause_of(error: BaseException, line: int) -> str:
    """What caused an error of another program, for a sentence.

    Args:
        error: The error.
        line: Which line of the message says it: 0, the first, or -1, the last.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[line].strip("-. "), _LONGEST, placeholder=" ...")


@contextmanager
def only_errors(logger_name: str) -> Iterator[None]:
    """While the body runs, a library logs nothing below an error."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
