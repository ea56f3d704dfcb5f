"""Base class of datasets: two lists of samples, one to learn from and one to test on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

GOOD = "good"
"""The defect type of an image without a defect."""

DEFECT = "defect"
"""The defect type of defective images where a dataset tells no types apart."""


@dataclass(frozen=True)
class Sample:
    """One image of a split.

    Attributes:
        path: The image file.
        defect_type: `good`, or the name of the defect type.
        mask_paths: The masks that mark the defect together, mostly one; none for good images and
            where no masks exist.
        region_path: Its region of interest; None if it has none of its own.
    """

    path: Path
    defect_type: str = GOOD
    mask_paths: tuple[Path, ...] = ()
    region_path: Path | None = None

    @property
    def label(self) -> int:
        """0 for a good image, 1 for a defective one."""
        return int(self.defect_type != GOOD)


class Splits(NamedTuple):
    """The two splits of a dataset.

    Attributes:
        train: Good images only; at least one.
        test: Good and defective images, in the order of the results; may be empty.
        has_masks: Whether every defective test image has a mask, so that pixel metrics exist.
    """

    train: list[Sample]
    test: list[Sample]
    has_masks: bool


@dataclass(eq=False)
class AnomalyDataset(ABC):
    """A dataset on disk. Its constructor stores its arguments; `scan` looks at the disk.

    Args:
        root: The folder that holds the dataset; text becomes a path.
        category: Name of the part or material, in tables and folders; None: that of `root`.
        skip_unreadable: Whether an image that cannot be decoded is left out, not an error.
        intensity: Which levels are black and white: `auto`, `[low, high]` in the files' units, or
            `{percentile: [a, b]}` of the training images.
        roi: A picture that is white where images count, or a folder with one for each image; None:
            all counts.
    """

    root: Path
    category: str
    skip_unreadable: bool
    intensity: str | Sequence[float] | Mapping[str, Sequence[float]]
    roi: Path | None

    def __post_init__(self) -> None:
        # YAML reads 2024 as a number.
        self.root = Path(str(self.root)).expanduser()
        is_unnamed = self.category in {None, ""}
        self.category = self.root.resolve().name if is_unnamed else str(self.category)
        self.roi = None if self.roi is None else Path(str(self.roi)).expanduser()

    @property
    def files_root(self) -> Path:
        """The folder that paths in results and caches are relative to."""
        return self.root

    @abstractmethod
    def scan(self) -> Splits:
        """List the samples of both splits, sorted by path within each defect type.

        Raises:
            DatasetError: If the folder, images or masks are missing, or not laid out as expected.
            ConfigError: If a setting is out of range.
        """
