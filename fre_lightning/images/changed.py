"""Readers of image files that change what they read, always the same way."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from fre_lightning.images.intensity import Intensity
from fre_lightning.images.perturbations import CORRUPTIONS, PERTURBATIONS
from fre_lightning.images.reading import Levels, read_image


class ChangedImages(ABC):
    """Reads image files as `read_image` does, and changes each in a way of its own.

    Args:
        paths: All files, in order.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._numbers = {path: number for number, path in enumerate(self.paths)}

    @abstractmethod
    def fingerprint(self) -> dict[str, object]:
        """What the change depends on beside the files, for the cache key."""

    @abstractmethod
    def change(self, number: int, intensity: Intensity | None, levels: Levels) -> Levels:
        """Change the levels of the image of a number; called from several threads."""

    def number(self, path: Path) -> int:
        """The place of a file among all."""
        return self._numbers[path]

    def __call__(
        self, path: Path, image_size: tuple[int, int], intensity: Intensity | None = None
    ) -> Tensor:
        """A changed image; arguments, result and errors are those of `read_image`."""
        change = partial(self.change, self.number(path), intensity)
        return read_image(path, image_size, intensity, change)


class PerturbedImages(ChangedImages):
    """Images that are changed in one of the ways of `PERTURBATIONS` or `CORRUPTIONS`.

    Args:
        paths: All files, in order.
        name: The way.
    """

    def __init__(self, paths: Sequence[Path], name: str) -> None:
        super().__init__(paths)
        self._name = name
        self._change = (PERTURBATIONS | CORRUPTIONS)[name]

    def fingerprint(self) -> dict[str, object]:
        """The name."""
        return {"change": self._name}

    def change(self, number: int, intensity: Intensity | None, levels: Levels) -> Levels:  # noqa: ARG002
        """Change an image; what is random in it depends on its number alone."""
        return self._change(levels, np.random.default_rng(number))
