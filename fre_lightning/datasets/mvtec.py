"""MVTec AD, and any folder in its layout."""

from pathlib import Path

from fre_lightning.datasets.base import GOOD, AnomalyDataset, Sample, Splits
from fre_lightning.datasets.listing import attach_masks, list_images, sub_folders
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
        """List the samples of both splits."""
        folder = self._category_dir()
        train, test = _list_train(folder), _list_test(folder / "test")
        mask_root = folder / "ground_truth"
        has_masks = mask_root.is_dir() and any(sample.label for sample in test)
        if has_masks:
            mask_dirs = [mask_root / sample.defect_type for sample in test]
            test = attach_masks(test, mask_dirs, mask_root)
        return Splits(train, test, has_masks)

    def _category_dir(self) -> Path:
        folder = self.root / self.category
        if folder.is_dir():
            return folder
        root, present = self.root.absolute(), find_categories(self.root)
        if (root / "train" / GOOD).is_dir():
            msg = (
                f"{root} is itself a category, not a folder of categories. Set "
                f"dataset.root={root.parent} dataset.category={root.name}."
            )
        elif present:
            hint = did_you_mean(self.category.lower(), present)
            msg = (
                f"There is no category {self.category!r} in {root}.{hint} There are: "
                f"{', '.join(present)}. Set dataset.category to one of them."
            )
        else:
            flaw = f"no sub-folder holds train/{GOOD}" if root.is_dir() else "it does not exist"
            msg = (
                f"No category was found in {root}: {flaw}. Download MVTec AD with `python -m "
                f"fre_lightning.datasets.download mvtec --root {self.root}`, or set dataset.root "
                "to a folder in MVTec layout."
            )
        raise DatasetError(msg)


def find_categories(root: Path) -> list[str]:
    """The names of the sub-folders of `root` with `train/good` in them, sorted."""
    return [path.name for path in sub_folders(root) if (path / "train" / GOOD).is_dir()]


def _list_train(folder: Path) -> list[Sample]:
    train = [Sample(path) for path in list_images(folder / "train" / GOOD)]
    if not train:
        below = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        msg = (
            f"{folder} holds no images in train/{GOOD} (found: {below}), so there is nothing to "
            "learn from. Put defect-free images there (png, jpg, bmp, tif or webp); for other "
            f"layouts use dataset=folder dataset.root={folder}."
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
