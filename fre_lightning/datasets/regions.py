"""The setting `dataset.roi`: one region for all images, or a folder with one for each."""

from dataclasses import replace
from pathlib import Path

from fre_lightning.datasets.base import Splits
from fre_lightning.datasets.listing import list_images
from fre_lightning.errors import DatasetError
from fre_lightning.files import relative_path


class RegionFolder:
    """A folder with a region for each image, of the image's name, with any ending.

    Args:
        folder: The folder.
        root: The folder of the images, whose sub-folders it has, too; None: it has none.

    Raises:
        DatasetError: If it is no folder.
    """

    def __init__(self, folder: Path, root: Path | None) -> None:
        if not folder.is_dir():
            msg = (
                f"roi={folder} is no folder with a region for each image; dataset.roi may also be "
                "one file for all. Correct the path."
            )
            raise DatasetError(msg)
        self._folder = folder
        self._root = root
        self._known: dict[Path, dict[str, Path]] = {}

    def find(self, image: Path) -> Path:
        """The region of an image.

        Raises:
            DatasetError: If there is none.
        """
        folder = self._folder
        if self._root is not None:
            folder /= relative_path(image, self._root).parent
        known = self._known.get(folder, {})
        if image.stem not in known:
            known = self._known[folder] = {path.stem: path for path in list_images(folder)}
        if image.stem not in known:
            msg = (
                f"The image {image} has no region: {image.stem}.png is not among the "
                f"{len(known)} images in {folder}. Add it, or give one file for all."
            )
            raise DatasetError(msg)
        return known[image.stem]


def attach_regions(splits: Splits, roi: Path | None, root: Path) -> Splits:
    """Give each sample its region, if `roi` is a folder, of images in the folder `root`.

    Raises:
        DatasetError: If there is no such file or folder, or an image has no region.
    """
    if roi is None or roi.is_file():
        return splits
    regions = RegionFolder(roi, root)
    train, test = (
        [replace(sample, region_path=regions.find(sample.path)) for sample in split]
        for split in (splits.train, splits.test)
    )
    return Splits(train, test, splits.has_masks)
