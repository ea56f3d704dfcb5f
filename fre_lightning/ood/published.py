"""Torchvision's datasets of classes, written as folders."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fre_lightning.datasets.making import make_once
from fre_lightning.errors import DatasetError
from fre_lightning.ood.known import TEST, TRAIN
from fre_lightning.progress import progress


class ClassSource(NamedTuple):
    """A dataset of torchvision.

    Attributes:
        title: Its name.
        kind: The name of its class in `torchvision.datasets`.
        splits: The arguments of each split.
        page: The address of its authors' description, with its terms.
    """

    title: str
    kind: str
    splits: Mapping[str, Mapping[str, Any]]
    page: str

    @property
    def terms(self) -> str:
        """Where its terms are, as one sentence."""
        return f"The terms of {self.title} are its authors', see {self.page}"


_BY_FLAG = {TRAIN: {"train": True}, TEST: {"train": False}}
_BY_NAME = {TRAIN: {"split": "train"}, TEST: {"split": "test"}}

SOURCES = {
    "cifar10": ClassSource(
        "CIFAR-10", "CIFAR10", _BY_FLAG, "https://www.cs.toronto.edu/~kriz/cifar.html"
    ),
    "cifar100": ClassSource(
        "CIFAR-100", "CIFAR100", _BY_FLAG, "https://www.cs.toronto.edu/~kriz/cifar.html"
    ),
    "svhn": ClassSource("SVHN", "SVHN", _BY_NAME, "http://ufldl.stanford.edu/housenumbers"),
    "stl10": ClassSource("STL-10", "STL10", _BY_NAME, "https://cs.stanford.edu/~acoates/stl10"),
    "dtd": ClassSource("DTD", "DTD", _BY_NAME, "https://www.robots.ox.ac.uk/~vgg/data/dtd"),
    "places365": ClassSource(
        "Places365",
        "Places365",
        {TEST: {"split": "val", "small": True}},
        "http://places2.csail.mit.edu",
    ),
}
"""By their name on the command line. Torchvision does not download LSUN."""


def download(name: str, root: Path) -> None:
    """Download a dataset with torchvision, and write its images as `<split>/<class>/*.png`.

    Args:
        name: One of `SOURCES`.
        root: The folder to make; what is downloaded lies beside it until that is done.

    Raises:
        DatasetError: If it cannot be had or written.
    """
    source, archives = SOURCES[name], root.with_name(f".{root.name}.download")

    def make(folder: Path) -> None:
        for split, options in source.splits.items():
            _export(_fetch(source, archives, options), folder / split)

    make_once(root, {"torchvision": name}, make, "--root")
    shutil.rmtree(archives, ignore_errors=True)


def _fetch(source: ClassSource, folder: Path, options: Mapping[str, Any]) -> Any:
    from torchvision import datasets  # here, for --help should not wait for torch

    folder.mkdir(parents=True, exist_ok=True)
    try:
        return getattr(datasets, source.kind)(folder, download=True, **options)
    except (OSError, RuntimeError) as error:
        msg = (
            f"torchvision cannot download {source.title} ({error}). Check the network and run the "
            f"same command again, or get it by hand from {source.page}."
        )
        raise DatasetError(msg) from error


def _export(images: Any, folder: Path) -> None:
    names = getattr(images, "classes", None)
    for index in progress(range(len(images)), f"Writing {folder.name}"):
        image, label = images[index]
        name = str(label if names is None else names[label]).strip("/").replace("/", "-")
        path = folder / name / f"{index:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, compress_level=1)
