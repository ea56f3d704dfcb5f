"""Base classes of published datasets: where they are had, and what is wrong with a copy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fre_lightning.datasets.base import AnomalyDataset, Sample, Splits
from fre_lightning.datasets.listing import sub_folders
from fre_lightning.datasets.split import split_at_random
from fre_lightning.errors import DatasetError, did_you_mean


@dataclass(eq=False)
class Published(AnomalyDataset):
    """A dataset in the layout that its authors published.

    Attributes:
        title: Its name.
        download: Its name in `sources.SOURCES`; None if this program does not download it.
        page: Address from where it is had then.
        terms: What its authors permit, in a few words.
    """

    title: ClassVar[str]
    download: ClassVar[str | None] = None
    page: ClassVar[str]
    terms: ClassVar[str]

    @property
    def advice(self) -> str:
        """How to get the dataset, as a sentence without its full stop."""
        if self.download is None:
            return f"Get {self.title} ({self.terms}) from {self.page}"
        command = f"python -m fre_lightning.download {self.download} --root {self.root}"
        return f"Download {self.title} with `{command}`"

    def incomplete(self, flaw: str) -> DatasetError:
        """The error that something is missing, to raise."""
        return DatasetError(f"{flaw}, so this copy of {self.title} is incomplete. {self.advice}.")

    def find_root(self, landmark: str) -> Path:
        """The folder with a file or folder in it: the root or, from an archive, a sub-folder.

        Raises:
            DatasetError: If there is none.
        """
        below = sub_folders(self.root)
        for folder in (self.root, *below):
            if (folder / landmark).exists():
                return folder
        names = ", ".join(path.name for path in below[:10]) or "none"
        found = f"sub-folders: {names}" if self.root.is_dir() else "the folder does not exist"
        msg = (
            f"No {landmark} was found in {self.root.absolute()} or one level below it ({found}). "
            f"{self.advice}, or set dataset.root to the folder that holds {landmark}."
        )
        raise DatasetError(msg)

    def find_category(self, landmark: str) -> Path:
        """The folder of the category.

        Args:
            landmark: What the folder of every category holds.

        Raises:
            DatasetError: If there is none.
        """
        folder = self.root / self.category
        if folder.is_dir():
            return folder
        root = self.root.absolute()
        if (root / landmark).is_dir():
            msg = (
                f"{root} is itself a category, not a folder of categories. Set "
                f"dataset.root={root.parent} dataset.category={root.name}."
            )
            raise DatasetError(msg)
        present = find_categories(root, landmark)
        if present:
            self.check_category(present)
        flaw = f"no sub-folder holds {landmark}" if root.is_dir() else "it does not exist"
        msg = (
            f"No category was found in {root}: {flaw}. {self.advice}, or set dataset.root to the "
            f"folder of its categories, each with {landmark} in it."
        )
        raise DatasetError(msg)

    def check_category(self, present: Sequence[str]) -> None:
        """Check that there is the category.

        Raises:
            DatasetError: If it is not among those that are present.
        """
        if self.category in present:
            return
        hint = did_you_mean(self.category.lower(), present)
        msg = (
            f"There is no category {self.category!r} in {self.root.absolute()}.{hint} There are: "
            f"{', '.join(present)}. Set dataset.category to one of them."
        )
        raise DatasetError(msg)


@dataclass(eq=False)
class Unsplit(Published):
    """A published dataset without splits: a random fraction of the good images is tested on.

    Args:
        root: The folder that holds the dataset.
        category: Name of the part or material.
        skip_unreadable: Whether an image that cannot be decoded is left out, not an error.
        intensity: Which levels are black and white, as in `AnomalyDataset`.
        roi: Where images count, as in `AnomalyDataset`.
        test_fraction: Share of the good images to test on, in [0, 1).
        seed: Seed of the split.
    """

    test_fraction: float
    seed: int

    def split(self, samples: Sequence[Sample]) -> Splits:
        """The splits of good and defective samples in any order."""
        return split_at_random(samples, self.test_fraction, self.seed, self.root)


def find_categories(root: Path, landmark: str) -> list[str]:
    """The names of the sub-folders of `root` with a folder `landmark` in them, sorted."""
    return [path.name for path in sub_folders(root) if (path / landmark).is_dir()]
