"""What a classifier knows: images of classes, in a folder for each class."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fre_lightning.datasets.base import Sample
from fre_lightning.datasets.listing import list_images_below, sub_folders
from fre_lightning.errors import ConfigError, DatasetError

TRAIN, TEST = "train", "test"


class Labelled(NamedTuple):
    """Images of classes.

    Attributes:
        samples: The images, sorted by class, then by path.
        labels: The number of each one's class.
    """

    samples: list[Sample]
    labels: list[int]


class ClassSplits(NamedTuple):
    """The known images.

    Attributes:
        classes: The names of the classes, sorted, as torchvision's ImageFolder numbers them.
        train: To learn from, at least two of each class.
        test: To test on.
    """

    classes: list[str]
    train: Labelled
    test: Labelled


@dataclass(eq=False)
class ClassFolder:
    """Images of classes as torchvision's ImageFolder reads them.

    On disk::

        <root>/train/<class>/**/*
        <root>/test/<class>/**/*

    Args:
        root: The folder that holds both splits; text becomes a path.
    """

    root: Path

    def __post_init__(self) -> None:
        self.root = Path(str(self.root)).expanduser()

    def scan(self) -> ClassSplits:
        """List the images.

        Raises:
            DatasetError: If a folder is missing, the splits have other classes, or a class has
                fewer than two images to learn from.
        """
        train, test = (self._list(split) for split in (TRAIN, TEST))
        classes = list(train)
        if other := sorted({*test} ^ {*train}):
            msg = (
                f"{self.root / TRAIN} and {self.root / TEST} must have the same classes, and only "
                f"one of them has {', '.join(other[:5])}."
            )
            raise DatasetError(msg)
        for name, paths in train.items():
            if len(paths) < 2:
                msg = (
                    f"The class {name} has {len(paths)} image to learn from, and a class takes at "
                    f"least 2: add some to {self.root / TRAIN / name}, or remove it."
                )
                raise DatasetError(msg)
        return ClassSplits(classes, _label(train), _label(test))

    def _list(self, split: str) -> dict[str, list[Path]]:
        folder = self.root / split
        found = {path.name: list_images_below(path) for path in sub_folders(folder)}
        found = {name: paths for name, paths in found.items() if paths}
        if len(found) < 2:
            msg = (
                f"{folder.absolute()} has {len(found)} sub-folders with images, and a classifier "
                "knows at least 2 classes: set known.root to a folder of train/<class>/* and "
                "test/<class>/*."
            )
            raise DatasetError(msg)
        return found


def _label(paths: dict[str, list[Path]]) -> Labelled:
    pairs = [(Sample(path), label) for label, name in enumerate(paths) for path in paths[name]]
    return Labelled([sample for sample, _ in pairs], [label for _, label in pairs])


def hold_out(images: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Deal images of each class to two parts at random.

    Args:
        images: The images.
        share: Of each class, for the second part; at least two images stay in the first.
        seed: Of the draw.

    Raises:
        ConfigError: If the share is out of range.
    """
    if not 0 <= share < 1:
        msg = f"held_out={share} must be at least 0 and below 1."
        raise ConfigError(msg)
    labels, rng = np.array(images.labels), np.random.default_rng(seed)
    is_second = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        is_second[indices[: min(round(share * len(indices)), len(indices) - 2)]] = True
    return _choose(images, ~is_second), _choose(images, is_second)


def _choose(images: Labelled, chosen: NDArray[np.bool_]) -> Labelled:
    indices = np.flatnonzero(chosen)
    return Labelled([images.samples[i] for i in indices], [images.labels[i] for i in indices])
