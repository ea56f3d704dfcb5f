"""MVTec AD, and any folder in its layout."""

from pathlib import Path
from typing import ClassVar

from fre_lightning.datasets.base import GOOD, Sample, Splits
from fre_lightning.datasets.listing import attach_masks, list_images, sub_folders
from fre_lightning.datasets.published import Published
from fre_lightning.errors import DatasetError

TRAIN_DIR = f"train/{GOOD}"
"""What a folder in this layout holds."""


class MVTecLayout(Published):
    """A dataset in the layout of MVTec AD, whose folders may have other names.

    Attributes:
        good_name: The name of the folders of good images.
        test_dir: The folder of test images, within that of a category.
        mask_dir: The folder of masks, within that of a category.
    """

    good_name: ClassVar[str] = GOOD
    test_dir: ClassVar[str] = "test"
    mask_dir: ClassVar[str] = "ground_truth"

    def scan(self) -> Splits:
        """List the samples of both splits."""
        folder = self.find_category(f"train/{self.good_name}")
        train, test = self._list_train(folder), self._list_test(folder)
        mask_root = folder / self.mask_dir
        has_masks = mask_root.is_dir() and any(sample.label for sample in test)
        if has_masks:
            mask_dirs = [mask_root / sample.defect_type for sample in test]
            test = attach_masks(test, mask_dirs, mask_root)
        return Splits(train, test, has_masks)

    def _list_train(self, folder: Path) -> list[Sample]:
        train = [Sample(path) for path in list_images(folder / "train" / self.good_name)]
        if not train:
            below = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
            msg = (
                f"{folder} holds no images in train/{self.good_name} (found: {below}), so there is "
                "nothing to learn from. Put defect-free images there (png, jpg, bmp, tif or webp); "
                f"for other layouts use dataset=folder dataset.root={folder}."
            )
            raise DatasetError(msg)
        return train

    def _list_test(self, folder: Path) -> list[Sample]:
        test_dir = folder / self.test_dir
        refuse_loose_images(test_dir, self.good_name)
        folders = [path for path in sub_folders(test_dir) if path != folder / self.mask_dir]
        return [
            Sample(path, GOOD if kind.name == self.good_name else kind.name)
            for kind in sorted(folders, key=lambda path: path.name != self.good_name)
            for path in list_images(kind)
        ]


class MVTec(MVTecLayout):
    """MVTec AD (Bergmann et al., 2019), or your own images in its layout.

    <https://www.mvtec.com/company/research/datasets/mvtec-ad>, under CC BY-NC-SA 4.0: free for
    research, not for commercial use. On disk::

        <root>/<category>/train/good/*.png
        <root>/<category>/test/good/*.png
        <root>/<category>/test/<defect type>/*.png
        <root>/<category>/ground_truth/<defect type>/<stem>_mask.png

    Without `test` there is nothing to test on; without `ground_truth` there are no pixel metrics.
    A mask may also have the same name as its image; several are `<stem>_mask1.png` and so on, or
    lie in a folder `<stem>`. Good images come first in the test split, then the defect types by
    name.
    """

    title = "MVTec AD"
    download = "mvtec"


def refuse_loose_images(test_dir: Path, good_name: str = GOOD) -> None:
    """Check that all test images lie in the folder of a defect type or of good images.

    Raises:
        DatasetError: If images lie directly in `test_dir`.
    """
    loose = list_images(test_dir)
    if loose:
        msg = (
            f"{len(loose)} images lie directly in {test_dir}, for example {loose[0].name}, so it "
            f"is not known whether they are defective. Move good ones to test/{good_name}, and "
            "defective ones to a folder named for the kind of defect, for example test/scratch."
        )
        raise DatasetError(msg)
