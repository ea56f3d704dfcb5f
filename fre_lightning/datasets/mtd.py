"""Magnetic Tile Defects in its published layout."""

from pathlib import Path
from typing import ClassVar

from fre_lightning.datasets.base import Sample, Splits
from fre_lightning.datasets.listing import list_images
from fre_lightning.datasets.published import Unsplit


class MTD(Unsplit):
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
    """

    defect_types: ClassVar = ("blowhole", "break", "crack", "fray", "uneven")

    title = "Magnetic Tile Defects"
    download = "mtd"

    def scan(self) -> Splits:
        """List the samples of both splits."""
        root = self.find_root("MT_Free")
        good = [Sample(path) for path in self._list_photos(root, "free")]
        defective = [
            Sample(path, defect_type, self._find_masks(path))
            for defect_type in self.defect_types
            for path in self._list_photos(root, defect_type)
        ]
        return self.split([*good, *defective])

    def _list_photos(self, root: Path, kind: str) -> list[Path]:
        """The photographs of one kind of tile, sorted; masks are the png files beside them."""
        folder = root / f"MT_{kind.capitalize()}" / "Imgs"
        photos = [path for path in list_images(folder) if path.suffix.lower() in {".jpg", ".jpeg"}]
        if not photos:
            raise self.incomplete(f"{folder.absolute()} is missing or holds no jpg images")
        return photos

    def _find_masks(self, photo: Path) -> tuple[Path]:
        mask_path = photo.with_suffix(".png")
        if not mask_path.is_file():
            raise self.incomplete(f"{photo} has no mask {mask_path.name} beside it")
        return (mask_path,)
