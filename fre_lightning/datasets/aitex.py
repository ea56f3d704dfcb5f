"""AITEX, the fabrics, in its published layout."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fre_lightning.datasets.base import Sample, Splits
from fre_lightning.datasets.listing import attach_masks, list_images, list_images_below
from fre_lightning.datasets.published import Unsplit

_ALL = "all"

_DEFECTS = {
    2: "broken_end",
    6: "broken_yarn",
    10: "broken_pick",
    16: "weft_curling",
    19: "fuzzyball",
    22: "cut_selvage",
    23: "crease",
    25: "warp_ball",
    27: "knots",
    29: "contamination",
    30: "nep",
    36: "weft_crack",
}
"""The defect types of codes in file names."""


class _Photo(NamedTuple):
    path: Path
    defect: int
    fabric: str


class AITEX(Unsplit):
    """AITEX Fabric Image Database (Silvestre-Blanes et al., 2019): strips of 4096x256, grey.

    <https://www.aitex.es/afid/>; its authors state no licence and ask to be cited. On disk, named
    `<number>_<code of the defect>_<fabric>`, code 0 for good ones::

        <root>/NODefect_images/<roll>/*.png
        <root>/Defect_images/*.png
        <root>/Mask_images/<stem>_mask.png      or <stem>_mask1.png, <stem>_mask2.png

    The category is a fabric, `00` to `06`, or `all`. The only image of fabric `08`, which has no
    mask and no good image to compare it with, is left out. The dataset comes without splits.
    """

    title = "AITEX"
    page = "https://www.aitex.es/afid/"
    terms = "its authors state no licence and ask to be cited"

    def scan(self) -> Splits:
        """List the samples of both splits."""
        root = self.find_root("NODefect_images")
        good = self._parse(list_images_below(root / "NODefect_images"))
        defective = self._parse(list_images(root / "Defect_images"))
        fabrics = sorted({photo.fabric for photo in good})
        self.check_category([*fabrics, _ALL])
        chosen = fabrics if self.category == _ALL else [self.category]
        samples = [Sample(photo.path) for photo in good if photo.fabric in chosen] + [
            Sample(photo.path, _DEFECTS.get(photo.defect, f"defect_{photo.defect}"))
            for photo in defective
            if photo.fabric in chosen
        ]
        mask_root = root / "Mask_images"
        if mask_root.is_dir():
            samples = attach_masks(samples, [mask_root] * len(samples), mask_root)
        return self.split(samples)

    def _parse(self, paths: Iterable[Path]) -> list[_Photo]:
        photos = []
        for path in paths:
            number, _, rest = path.stem.partition("_")
            defect, _, fabric = rest.partition("_")
            if not (number.isdigit() and defect.isdigit() and fabric.isdigit()):
                raise self.incomplete(f"{path} is not named <number>_<defect>_<fabric>")
            photos.append(_Photo(path, int(defect), fabric))
        return photos
