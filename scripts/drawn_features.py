"""Features of a known spectrum, drawn for scale.py, and read from shards as those of the cache."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct  # type: ignore[import-untyped]

from fre_lightning.features.matrix import FeatureMatrix

N_CELLS = 49  # a map of 7 x 7
N_TEST = 400  # good ones, and as many with a defect in one cell


class Spectrum(NamedTuple):
    """Variances (i + offset)^-decay, i from 0 to D - 1, whose sum is 100."""

    n_features: int
    decay: float
    offset: float

    def deviations(self) -> NDArray[np.float32]:
        """Standard deviations, `(D,)`."""
        variances = (np.arange(self.n_features) + self.offset) ** -self.decay
        roots: NDArray[np.float32] = np.sqrt(variances / variances.sum() * 100).astype(np.float32)
        return roots


def draw(n: int, spectrum: Spectrum, seed: int) -> NDArray[np.float32]:
    """Features `(n, D)`: independent values of the spectrum, mixed by an orthogonal transform."""
    n_features = spectrum.n_features
    values = np.random.default_rng(seed).standard_normal((n, n_features), dtype=np.float32)
    values *= spectrum.deviations()
    values *= np.random.default_rng(0).choice([-1, 1], n_features).astype(np.float32)
    mixed: NDArray[np.float32] = dct(values, norm="ortho", axis=1, overwrite_x=True)
    return mixed + np.float32(0.5)


def draw_test(spectrum: Spectrum) -> NDArray[np.float32]:
    """Good images, then defective ones."""
    images = draw(2 * N_TEST, spectrum, seed=1)
    cells = np.arange(spectrum.n_features) % N_CELLS
    noise = np.random.default_rng(2).standard_normal(images.shape, dtype=np.float32)
    defects = np.arange(N_TEST)[:, None] % N_CELLS == cells
    images[N_TEST:] += defects * noise[N_TEST:] * 0.06
    return images


class Shard:
    """The rows of a file, which count how often they are read."""

    n_read = 0  # values, of all shards

    def __init__(self, path: Path) -> None:
        self._rows = np.load(path, mmap_mode="r")
        self._mmap = self._rows._mmap  # its pages are released after each block
        self.shape = self._rows.shape

    def __getitem__(self, block: tuple[slice, slice]) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self._rows[block]
        Shard.n_read += values.size
        return values


def open_shards(folder: Path) -> FeatureMatrix:
    """The features in a folder, as they are read from the cache."""
    return FeatureMatrix([Shard(path) for path in sorted(folder.glob("shard-*.npy"))])
