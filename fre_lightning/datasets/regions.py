"""The setting `dataset.roi`: one region for all images, or a folder with one for each."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fre_lightning.datasets.base import Sample, Splits
from fre_lightning.datasets.listing import list_images
from fre_lightning.errors import DatasetError
from fre_lightning.files import relative_path


def attach_regions(splits: Splits, roi: Path | None, root: Path) -> Splits:
    """Give each sample its region, if `roi` is a folder.

    Args:
        splits: The samples.
        roi: None, a file, or a folder with the sub-folders of `root`, in which the region of an
            image has the image's name, with any ending.
        root: The folder of the images.

    Raises:
        DatasetError: If there is no such file or folder, or an image has no region.
    """
    if roi is None or roi.is_file():
        return splits
    if not roi.is_dir():
        msg = f"dataset.roi={roi} is neither a file nor a folder. Correct the path."
        raise DatasetError(msg)
    known: dict[Path, dict[str, Path]] = {}

    def attach(samples: Sequence[Sample]) -> list[Sample]:
        return [replace(s, region_path=find_region(s.path, roi, root, known)) for s in samples]

    return splits._replace(train=attach(splits.train), test=attach(splits.test))


def find_region(
    image: Path, roi: Path, root: Path, known: dict[Path, dict[str, Path]] | None = None
) -> Path:
    """The region of an image in a folder of regions.

    Args:
        image: The image.
        roi: The folder.
        root: The folder of the images.
        known: What earlier calls have listed.

    Raises:
        DatasetError: If there is none.
    """
    known = {} if known is None else known
    folder = roi / relative_path(image, root).parent
    if folder not in known:
        known[folder] = {path.stem: path for path in list_images(folder)}
    if image.stem not in known[folder]:
        msg = (
            f"The image {image} has no region: there is no {image.stem}.png among the "
            f"{len(known[folder])} images in {folder}. Add it, or give one file for all images."
        )
        raise DatasetError(msg)
    return known[folder][image.stem]
