"""Handwritten digits, real images without a download: some classes are known, the others not."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fre_lightning.datasets.making import make_once
from fre_lightning.errors import DatasetError
from fre_lightning.ood.known import TEST, TRAIN, ClassFolder, ClassSplits

_N_KNOWN = 8
_N_LEVELS = 16


@dataclass(eq=False)
class Digits(ClassFolder):
    """Scikit-learn's digits (Alpaydin and Kaynak 1998, UCI): 1,797 images of 8x8, CC BY 4.0.

    Written into files at first use::

        <root>/{train,test}/{0,...,7}/*.png   the known digits
        <root>/8_and_9/*.png                  the others
        <root>/noise/*.png                    uniform noise, as many as test images
        <root>/inverted/*.png                 the test images, black for white

    Args:
        root: The folder to write to.
        test_fraction: The share of each known digit to test on, drawn at random.
        seed: Of that draw and of the noise.
    """

    test_fraction: float
    seed: int

    def scan(self) -> ClassSplits:
        """Write the files if need be, and list the known images."""
        if not 0 < self.test_fraction < 1:
            msg = f"known.test_fraction={self.test_fraction} must lie between 0 and 1."
            raise DatasetError(msg)
        parameters = {"test_fraction": self.test_fraction, "seed": self.seed}
        make_once(self.root, parameters, self._write, "known.root")
        return super().scan()

    def _write(self, folder: Path) -> None:
        images, labels = _load()
        rng = np.random.default_rng(self.seed)
        n_test = 0
        for digit in range(_N_KNOWN):
            indices = rng.permutation(np.flatnonzero(labels == digit))
            n_first = round(self.test_fraction * len(indices))
            n_test += n_first
            for split, chosen in ((TEST, indices[:n_first]), (TRAIN, indices[n_first:])):
                for index in chosen:
                    _save(images[index], folder / split / str(digit), index)
                    if split == TEST:
                        _save(255 - images[index], folder / "inverted", index)
        for index in np.flatnonzero(labels >= _N_KNOWN):
            _save(images[index], folder / "8_and_9", index)
        for index in range(n_test):
            _save(rng.integers(0, 256, (8, 8), np.uint8), folder / "noise", index)


def _load() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    try:
        digits = importlib.import_module("sklearn.datasets").load_digits()
    except ImportError as error:
        msg = 'known=digits takes them from scikit-learn: `pip install "fre-lightning[sklearn]"`.'
        raise DatasetError(msg) from error
    return np.rint(digits.images * (255 / _N_LEVELS)).astype(np.uint8), digits.target


def _save(levels: NDArray[np.uint8], folder: Path, index: int | np.signedinteger) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels).save(folder / f"{index:04d}.png")
