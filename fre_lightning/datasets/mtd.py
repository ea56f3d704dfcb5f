"""Magnetic Tile Defects in its published layout."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fre_lightning.datasets.base import AnomalyDataset, Sample, Splits
from fre_lightning.datasets.listing import list_images, sub_folders
from fre_lightning.datasets.split import split_good
from fre_lightning.errors import DatasetError


@dataclass(eq=False)
class MTD(AnomalyDataset):
    """Magnetic Tile Defects (Huang, Qiu and Yuan, 2020).

    From "Surface defect saliency of magnetic tile",
    <https://github.com/abin24/Magnetic-tile-defect-datasets.>: 952 images of good tiles and 392 of
    defective ones, greyscale, of many sizes. Its authors state no licence; they welcome its use
    and ask to be cited. On disk, with a mask of the same stem beside every image::

        <root>/MT_Free/Imgs/*.jpg, *.png
        <root>/MT_{Blowhole,Break,Crack,Fray,Uneven}/Imgs/*.jpg, *.png

    The dataset has no split of its own. As in the literature, a random fraction of the good images
    is tested on. Many of them are near-duplicates (one tile at several exposures) and
    their names do not tell which, so such a split leaks: compare methods by it, but do not expect
    its figures on new tiles.

    Args:
        root: The folder with `MT_Free` in it, or the one above.
        category: Its name in tables and folders.
        skip_unreadable: Whether an image that cannot be decoded is left out, not an error.
        intensity: Which levels are black and white, as in `AnomalyDataset`.
        roi: Where images count, as in `AnomalyDataset`.
        test_fraction: Share of the good images to test on, in [0, 1).
        seed: Seed of the split.
    """

    defect_types: ClassVar = ("blowhole", "break", "crack", "fray", "uneven")

    test_fraction: float
    seed: int

    def scan(self) -> Splits:
        """List the samples of both splits."""
        root = self._find_root()
        good = [Sample(path) for path in _list_photos(root, "free")]
        train, test_good = split_good(good, self.test_fraction, self.seed)
        defective = [
            Sample(path, defect_type, (_find_mask(path),))
            for defect_type in self.defect_types
            for path in _list_photos(root, defect_type)
        ]
        return Splits(train, [*test_good, *defective], has_masks=True)

    def _find_root(self) -> Path:
        """The folder with `MT_Free` in it: the root or, from an unpacked archive, a sub-folder."""
        below = sub_folders(self.root)
        for folder in (self.root, *below):
            if (folder / "MT_Free").is_dir():
                return folder
        names = ", ".join(path.name for path in below[:10]) or "none"
        found = f"sub-folders: {names}" if self.root.is_dir() else "the folder does not exist"
        msg = (
            f"No folder MT_Free was found in {self.root.absolute()} or one level below it "
            f"({found}). Download Magnetic Tile Defects with `python -m "
            f"fre_lightning.datasets.download mtd --root {self.root}`, or set dataset.root to the "
            "folder that holds MT_Free."
        )
        raise DatasetError(msg)


def _find_mask(photo: Path) -> Path:
    mask_path = photo.with_suffix(".png")
    if not mask_path.is_file():
        raise _incomplete(f"{photo} has no mask {mask_path.name} beside it")
    return mask_path


def _list_photos(root: Path, kind: str) -> list[Path]:
    """The photographs of one kind of tile, sorted; masks are the png files beside them."""
    folder = root / f"MT_{kind.capitalize()}" / "Imgs"
    photos = [path for path in list_images(folder) if path.suffix.lower() in {".jpg", ".jpeg"}]
    if not photos:
        raise _incomplete(f"{folder.absolute()} is missing or holds no jpg images")
    return photos


def _incomplete(flaw: str) -> DatasetError:
    return DatasetError(
        f"{flaw}, so this copy of Magnetic Tile Defects is incomplete. Download it again with "
        "`python -m fre_lightning.datasets.download mtd`."
    )
