"""KolektorSDD in its published layout, and what it shares with its successor."""

from pathlib import Path

import numpy as np
from PIL import Image

from fre_lightning.datasets.base import DEFECT, Sample, Splits
from fre_lightning.datasets.listing import list_images, list_masks, sub_folders
from fre_lightning.datasets.published import Published, Unsplit
from fre_lightning.errors import DatasetError


class KolektorSDD(Unsplit):
    """KolektorSDD (Tabernik et al., 2020): 52 cracked and 347 good surfaces of 50 commutators.

    <https://www.vicos.si/resources/kolektorsdd/>, under CC BY-NC-SA 4.0. On disk, with a mask for
    every image, which is black where it is good::

        <root>/kos<nn>/Part<n>.jpg, Part<n>_label.bmp

    The dataset comes without splits but those of the authors' cross-validation, which learn from
    defects; here a random fraction of the good images is tested on.
    """

    title = "KolektorSDD"
    page = "https://www.vicos.si/resources/kolektorsdd/"
    terms = "CC BY-NC-SA 4.0, not for commercial use"

    def scan(self) -> Splits:
        """List the samples of both splits."""
        parts = sub_folders(self.find_root("kos01"))
        return self.split([sample for part in parts for sample in read_pairs(self, part, "_label")])


def read_pairs(dataset: Published, folder: Path, ending: str) -> list[Sample]:
    """The images in a folder, defective where the mask beside them marks anything.

    Args:
        dataset: The dataset, for errors.
        folder: The images and masks.
        ending: What follows the image's stem in the mask's.

    Raises:
        DatasetError: If an image has no mask, or a mask cannot be read.
    """
    masks, samples = list_masks(folder, ending), []
    for path in list_images(folder):
        # The archive of KolektorSDD2 has a pair twice: `10301 (copy).png`, `10301_GT (copy).png`.
        if ending in path.stem or path.stem.endswith("(copy)"):
            continue
        if path.stem not in masks:
            raise dataset.incomplete(f"{path} has no mask {path.stem}{ending} beside it")
        found = masks[path.stem]
        samples.append(Sample(path, DEFECT, found) if _marks_any(found[0]) else Sample(path))
    return samples


def _marks_any(mask_path: Path) -> bool:
    try:
        with Image.open(mask_path) as mask:
            return bool(np.asarray(mask).any())
    except OSError as error:
        msg = f"The mask {mask_path} cannot be read ({error}). Copy it from the archive again."
        raise DatasetError(msg) from error
