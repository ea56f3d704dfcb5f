"""Torchvision's datasets as folders: `python -m fre_lightning.ood.download cifar10 --root DIR`."""

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torchvision import datasets

from fre_lightning.datasets.archives import say
from fre_lightning.datasets.making import make_once
from fre_lightning.errors import DatasetError, exit_code_of
from fre_lightning.files import print_any_name
from fre_lightning.ood.known import TEST, TRAIN
from fre_lightning.progress import progress


class _Source(NamedTuple):
    """A dataset of torchvision.

    Attributes:
        kind: Its class.
        splits: The arguments of each split.
        page: The address of its authors' description, with its terms.
    """

    kind: Callable[..., Any]
    splits: Mapping[str, Mapping[str, Any]]
    page: str


_BY_FLAG = {TRAIN: {"train": True}, TEST: {"train": False}}
_BY_NAME = {TRAIN: {"split": "train"}, TEST: {"split": "test"}}

SOURCES = {
    "cifar10": _Source(datasets.CIFAR10, _BY_FLAG, "https://www.cs.toronto.edu/~kriz/cifar.html"),
    "cifar100": _Source(datasets.CIFAR100, _BY_FLAG, "https://www.cs.toronto.edu/~kriz/cifar.html"),
    "svhn": _Source(datasets.SVHN, _BY_NAME, "http://ufldl.stanford.edu/housenumbers"),
    "stl10": _Source(datasets.STL10, _BY_NAME, "https://cs.stanford.edu/~acoates/stl10"),
    "dtd": _Source(datasets.DTD, _BY_NAME, "https://www.robots.ox.ac.uk/~vgg/data/dtd"),
    "places365": _Source(
        datasets.Places365,
        {TEST: {"split": "val", "small": True}},
        "http://places2.csail.mit.edu",
    ),
}
"""By their name on the command line. Torchvision does not download LSUN."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0, or 2 after an error that a message explains.
    """
    print_any_name()
    parser = argparse.ArgumentParser(
        prog="download",
        description="Download a dataset with torchvision, and write it as <split>/<class>/*.png.",
    )
    parser.add_argument("dataset", choices=sorted(SOURCES), help="which one")
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="folder to make; by default the dataset's name"
    )
    args = parser.parse_args(argv)
    root: Path = (args.root or Path(args.dataset)).expanduser().absolute()
    return exit_code_of(lambda: download(args.dataset, root))


def download(name: str, root: Path) -> None:
    """Download a dataset, and write its images.

    Args:
        name: One of `SOURCES`.
        root: The folder to make; what is downloaded lies beside it until that is done.

    Raises:
        DatasetError: If it cannot be had or written.
    """
    source, archives = SOURCES[name], root.with_name(f".{root.name}.download")
    say(f"The terms of {name} are its authors': {source.page}")

    def make(folder: Path) -> None:
        for split, options in source.splits.items():
            _export(_fetch(name, source, archives, options), folder / split)

    make_once(root, {"torchvision": name}, make, "--root")
    shutil.rmtree(archives, ignore_errors=True)
    say(f"{name} is in {root}: known=folder known.root={root}, or a folder of unknown.far.")


def _fetch(name: str, source: _Source, folder: Path, options: Mapping[str, Any]) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return source.kind(folder, download=True, **options)
    except (OSError, RuntimeError) as error:
        msg = (
            f"torchvision cannot download {name} ({error}). Check the network and run the same "
            f"command again, or get it by hand from {source.page}."
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


if __name__ == "__main__":
    sys.exit(main())
