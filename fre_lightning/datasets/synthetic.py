"""A dataset of drawn images, for trials, demonstrations and tests without a download."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fre_lightning.datasets.base import GOOD, AnomalyDataset, Splits
from fre_lightning.datasets.making import make_once
from fre_lightning.datasets.mvtec import MVTec
from fre_lightning.datasets.synthetic_defects import DEFECTS, to_mask
from fre_lightning.datasets.synthetic_parts import PARTS, photograph
from fre_lightning.errors import ConfigError, DatasetError

GENERATOR = 1
"""Version of the drawings; raise it whenever their pixels change."""

_LEAST = {"image_size": 32, "n_train": 1, "n_test_good": 0, "n_test_defective": 0, "seed": 0}
"""The settings that determine the images, and their least values."""


@dataclass(eq=False)
class Synthetic(AnomalyDataset):
    """Drawn photographs of parts with drawn defects, in MVTec layout.

    Categories: `fabric`, `leather` and `metal` fill the image; `gear` lies on a plain background,
    and so does `bolt`, but small and turned at random. Each has four defect types with exact
    masks. They are for trials and demonstrations: results on them say nothing about real parts.
    On disk::

        <root>/<parameters>/<category>/{train,test,ground_truth}/...
        <root>/<parameters>/<category>/parameters.json

    Images are made on first use. Each set of parameters has its own folder, and always gives the
    same images. A longer list of images begins with the shorter one.

    Args:
        root: The folder to make the images in.
        category: `bolt`, `fabric`, `gear`, `leather` or `metal`.
        skip_unreadable: Whether an image that cannot be decoded is left out, not an error.
        intensity: Which levels are black and white, as in `AnomalyDataset`.
        roi: Where images count, as in `AnomalyDataset`.
        image_size: Side of the square images.
        n_train: Number of good images to learn from.
        n_test_good: Number of good images to test on.
        n_test_defective: Number of defective images to test on, spread over the defect types.
        seed: Seed of all images.
    """

    image_size: int
    n_train: int
    n_test_good: int
    n_test_defective: int
    seed: int

    @property
    def files_root(self) -> Path:
        """The folder for these parameters."""
        counts = f"{self.n_train}-{self.n_test_good}-{self.n_test_defective}"
        return self.root / f"v{GENERATOR}_{self.image_size}px_{counts}_seed{self.seed}"

    def scan(self) -> Splits:
        """Make the images if need be, and list the samples of both splits."""
        self._check()
        parameters = {"generator": GENERATOR} | {name: getattr(self, name) for name in _LEAST}
        folder = self.files_root / self.category
        make_once(folder, parameters, self._generate, "dataset.root")
        settings = self.skip_unreadable, self.intensity, self.roi
        return MVTec(self.files_root, self.category, *settings).scan()

    def _check(self) -> None:
        if self.category not in PARTS:
            msg = (
                f"There is no synthetic category {self.category!r}. Set dataset.category to one of "
                f"{', '.join(PARTS)}."
            )
            raise DatasetError(msg)
        for name, bound in _LEAST.items():
            if getattr(self, name) < bound:
                msg = f"dataset.{name} must be at least {bound}; got {getattr(self, name)}."
                raise ConfigError(msg)

    def _generate(self, folder: Path) -> None:
        for split, n_images in (("train", self.n_train), ("test", self.n_test_good)):
            for index in range(n_images):
                image, _ = self.draw(split, GOOD, index)
                _save(image, folder / split / GOOD / f"{index:03d}.png")
        defect_types = list(DEFECTS[self.category])
        for count in range(self.n_test_defective):
            index, defect_type = count // len(defect_types), defect_types[count % len(defect_types)]
            image, mask = self.draw("test", defect_type, index)
            _save(image, folder / "test" / defect_type / f"{index:03d}.png")
            _save(mask, folder / "ground_truth" / defect_type / f"{index:03d}_mask.png")

    def draw(
        self, split: str, defect_type: str, index: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw one image of S x S pixels; it does not depend on other draws.

        Args:
            split: `train` or `test`.
            defect_type: `good` or one of the category's defect types.
            index: Number of the image among those of its split and defect type.

        Returns:
            The image `(S, S, 3)` and its mask `(S, S)`, 0 or 255.
        """
        name = zlib.crc32(f"{self.category}/{split}/{defect_type}".encode())
        rng = np.random.default_rng([self.seed, name, index])
        part = PARTS[self.category](self.image_size, rng)
        if defect_type == GOOD:
            return photograph(part.image, rng), np.zeros(part.surface.shape, dtype=np.uint8)
        spoilt, weight = DEFECTS[self.category][defect_type](part, rng)
        return photograph(spoilt, rng), to_mask(weight)


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)  # noise does not compress; be quick
