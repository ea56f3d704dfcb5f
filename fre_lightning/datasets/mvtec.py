"""MVTec AD, and any folder in its layout."""

from pathlib import Path

from fre_lightning.datasets.base import GOOD, AnomalyDataset, Sample, Splits
from fre_lightning.datasets.listing import list_images, sub_folders
from fre_lightning.datasets.masks import MaskFinder
from fre_lightning.errors import DatasetError, did_you_mean


class MVTec(AnomalyDataset):
    """MVTec AD (Bergmann et al., 2019), or your own images in its layout.

    <https://www.mvtec.com/company/research/datasets/mvtec-ad>, under CC BY-NC-SA 4.0: free for
    research, not for commercial use. On disk::

        <root>/<category>/train/good/*.png
        <root>/<category>/test/good/*.png
        <root>/<category>/test/<defect type>/*.png
        <root>/<category>/ground_truth/<defect type>/<stem>_mask.png

    Without `test` there is nothing to test on; without `ground_truth` there are no pixel metrics.
    A mask may also have the same name as its image. Good images come first in the test split, then
    the defect types by name.
    """

    def scan(self) -> Splits:
        """List the samples of both splits.

        Raises:
            DatasetError: If a folder, the training images or a mask are missing.
        """
        folder = self._category_dir()
        train = _list_train(folder)
        test = _list_test(folder / "test")
        mask_root = folder / "ground_truth"
        has_masks = mask_root.is_dir() and any(sample.label for sample in test)
        if has_masks:
            masks = MaskFinder(mask_root)
            test = [
                masks.attach(sample, mask_root / sample.defect_type) if sample.label else sample
                for sample in test
            ]
        return Splits(train, test, has_masks)

    def _category_dir(self) -> Path:
        if not self.root.is_dir():
            msg = (
                f"The folder {self.root.absolute()} does not exist. Download MVTec AD with "
                f"`python -m fre_lightning.datasets.download mvtec --root {self.root}`, or set "
                "dataset.root to where it is."
            )
            raise DatasetError(msg)
        folders = {path.name: path for path in self.root.iterdir() if path.is_dir()}
        if self.category not in folders:
            raise DatasetError(self._unknown_category())
        return folders[self.category]

    def _unknown_category(self) -> str:
        root = self.root.absolute()
        if (root / "train" / GOOD).is_dir():
            return (
                f"{root} is itself a category, not a folder of categories. Set "
                f"dataset.root={root.parent} dataset.category={root.name}."
            )
        present = find_categories(root)
        if not present:
            return (
                f"No category was found in {root}: none of its sub-folders holds train/{GOOD}. "
                "Download MVTec AD with `python -m fre_lightning.datasets.download mvtec --root "
                f"{self.root}`, or set dataset.root to a folder in MVTec layout."
            )
        hint = did_you_mean(self.category.lower(), present)
        return (
            f"There is no category {self.category!r} in {root}.{hint} There are: "
            f"{', '.join(present)}. Set dataset.category to one of them."
        )


def find_categories(root: Path) -> list[str]:
    """The names of the sub-folders of `root` with `train/good` in them, sorted."""
    return [path.name for path in sub_folders(root) if (path / "train" / GOOD).is_dir()]


def _list_train(folder: Path) -> list[Sample]:
    good_dir = folder / "train" / GOOD
    if not good_dir.is_dir():
        below = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        msg = (
            f"{folder} is not in MVTec layout: it has no folder train/{GOOD} (found: {below}). Put "
            f"the training images into train/{GOOD}; for other layouts use dataset=folder "
            f"dataset.root={folder}."
        )
        raise DatasetError(msg)
    train = [Sample(path) for path in list_images(good_dir)]
    if not train:
        msg = (
            f"{good_dir} holds no images, so there is nothing to learn from. Put defect-free "
            "images there (png, jpg, bmp, tif or webp)."
        )
        raise DatasetError(msg)
    return train


def refuse_loose_images(test_dir: Path) -> None:
    """Check that all test images lie in the folder of a defect type or of good images.

    Raises:
        DatasetError: If images lie directly in `test_dir`.
    """
    loose = list_images(test_dir)
    if loose:
        msg = (
            f"{len(loose)} images lie directly in {test_dir}, for example {loose[0].name}, so it "
            f"is not known whether they are defective. Move good ones to test/{GOOD}, and "
            "defective ones to a folder named for the kind of defect, for example test/scratch."
        )
        raise DatasetError(msg)


def _list_test(test_dir: Path) -> list[Sample]:
    refuse_loose_images(test_dir)
    folders = sorted(sub_folders(test_dir), key=lambda path: path.name != GOOD)
    return [Sample(path, folder.name) for folder in folders for path in list_images(folder)]
