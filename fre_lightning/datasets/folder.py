"""Your own images: a folder of good ones and, optionally, folders of defective ones."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fre_lightning.datasets.base import GOOD, AnomalyDataset, Sample, Splits
from fre_lightning.datasets.listing import attach_masks, list_images, list_images_below, sub_folders
from fre_lightning.datasets.mvtec import TRAIN_DIR, MVTec, refuse_loose_images
from fre_lightning.datasets.published import find_categories
from fre_lightning.datasets.split import split_good
from fre_lightning.errors import DatasetError

log = logging.getLogger(__name__)

_MASK_DIRS = ("masks", "ground_truth")


@dataclass(eq=False)
class Folder(AnomalyDataset):
    """Your images, sorted into folders; only good ones are needed.

    On disk::

        <root>/good/**/*                      or the images directly in <root>
        <root>/<defect type>/**/*             optional, any number of them
        <root>/masks/<defect type>/**/*       optional: <stem>_mask.* or <stem>.*
        <root>/test/{good,<defect type>}/*    optional

    Good and defect folders are read with all sub-folders; `masks` must have the same sub-folders
    (with a single defect type its level may be left out). Without `test/good`, a random fraction
    of the good images is tested on. A category in MVTec layout (`train/good`) is read as such.
    Images are png, jpg, jp2, bmp, tif, webp, gif, pgm, ppm or npy; other files are left out.

    Args:
        root: The folder of this part or material.
        category: Its name in tables and folders; None stands for the name of `root`.
        skip_unreadable: Whether an image that cannot be decoded is left out, not an error.
        intensity: Which levels are black and white, as in `AnomalyDataset`.
        roi: Where images count, as in `AnomalyDataset`.
        good_dir: The folder of good images, below `root`; None stands for `good` if it exists,
            else for the images directly in `root`.
        defect_dirs: The folders of defective images, below `root`; None stands for all other
            sub-folders of `root` and of `root/test`.
        mask_dir: The folder of masks, below `root`; None stands for `masks` or `ground_truth`,
            if one exists.
        test_fraction: Share of the good images to test on, in [0, 1), unless there is a folder
            `test/good`.
        seed: Seed of the random split.
    """

    good_dir: str | None
    defect_dirs: str | Sequence[str] | None
    mask_dir: str | None
    test_fraction: float
    seed: int

    def scan(self) -> Splits:
        """List the samples of both splits."""
        if not self.root.is_dir():
            msg = f"The folder {self.root.absolute()} does not exist. Set dataset.root."
            raise DatasetError(msg)
        if self.good_dir is None and (self.root / TRAIN_DIR).is_dir():
            # The root stays as it was given: results are named relative to it.
            return MVTec(
                self.root.parent, self.root.name, self.skip_unreadable, self.intensity, self.roi
            ).scan()
        good_dir, mask_root = self._find_good_dir(), self._find_mask_root()
        good = self._list_good(good_dir)
        refuse_loose_images(self.root / "test")
        test_good = [Sample(path) for path in list_images_below(self.root / "test" / GOOD)]
        if not test_good:
            good, test_good = split_good(good, self.test_fraction, self.seed)
        defective = self._list_defective(good_dir, mask_root)
        text = "%s: %d good images to learn from, %d good and %d defective ones to test on"
        log.info(text, self.root, len(good), len(test_good), len(defective))
        has_masks = mask_root is not None and bool(defective)
        return Splits(good, [*test_good, *defective], has_masks)

    def _find_good_dir(self) -> Path:
        if self.good_dir is not None:
            return self._require(self.good_dir, "good_dir")
        if (self.root / GOOD).is_dir():
            return self.root / GOOD
        if list_images(self.root):
            return self.root
        categories = find_categories(self.root, TRAIN_DIR)
        if categories:
            advice = f"Use dataset=mvtec dataset.root={self.root} dataset.category={categories[0]}"
        else:
            advice = f"Name the folder of good images {GOOD}, or set dataset.good_dir to its name"
        msg = f"It is not clear which images are good: {_describe(self.root)}. {advice}."
        raise DatasetError(msg)

    def _find_mask_root(self) -> Path | None:
        if self.mask_dir is not None:
            return self._require(self.mask_dir, "mask_dir")
        candidates = [self.root / name for name in _MASK_DIRS if (self.root / name).is_dir()]
        return candidates[0] if candidates else None

    def _require(self, name: str, setting: str) -> Path:
        folder = self.root / name
        if folder.is_dir():
            return folder
        msg = f"dataset.{setting}={name} is not a folder: {_describe(self.root)}. Correct the name."
        raise DatasetError(msg)

    def _list_good(self, good_dir: Path) -> list[Sample]:
        # The sub-folders of the root are defect types; the sub-folders of a good folder are good.
        at_root = good_dir.resolve() == self.root.resolve()
        good = list_images(good_dir) if at_root else list_images_below(good_dir)
        if not good:
            msg = (
                f"There are no images in {good_dir.absolute()}, so there is nothing to learn from: "
                f"{_describe(self.root)}. Put defect-free images there (png, jpg, bmp, tif, webp)."
            )
            raise DatasetError(msg)
        return [Sample(path) for path in good]

    def _list_defective(self, good_dir: Path, mask_root: Path | None) -> list[Sample]:
        folders = self._find_defect_dirs(good_dir, mask_root)
        found = [(folder, path) for folder in folders for path in list_images_below(folder)]
        samples = [Sample(path, folder.name) for folder, path in found]
        if mask_root is None:
            return samples
        is_single = len({folder.name for folder in folders}) == 1
        has_level = not is_single or (mask_root / folders[0].name).is_dir()
        mask_dirs = [
            mask_root / (folder.name if has_level else "") / path.parent.relative_to(folder)
            for folder, path in found
        ]
        return attach_masks(samples, mask_dirs, mask_root)

    def _find_defect_dirs(self, good_dir: Path, mask_root: Path | None) -> list[Path]:
        if self.defect_dirs is not None:
            names = [self.defect_dirs] if isinstance(self.defect_dirs, str) else self.defect_dirs
            return [self._require(name, "defect_dirs") for name in names]
        test_dir = self.root / "test"
        taken = {good_dir, *good_dir.parents, test_dir, test_dir / GOOD}
        if mask_root is not None:
            taken |= {mask_root, *mask_root.parents}
        folders = [*sub_folders(self.root), *sub_folders(test_dir)]
        folders = [path for path in folders if path not in taken and list_images_below(path)]
        return sorted(folders, key=lambda path: path.name)


def _describe(folder: Path) -> str:
    names = [f"{path.name} ({len(list_images_below(path))})" for path in sub_folders(folder)]
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    listed = f"sub-folders with images: {', '.join(names[:10])}{more}" if names else "no sub-folder"
    return f"found {len(list_images(folder))} images in {folder.absolute()}, {listed}"
