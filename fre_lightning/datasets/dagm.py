"""DAGM 2007 in its published layout."""

from pathlib import Path

from fre_lightning.datasets.base import DEFECT, GOOD, Sample, Splits
from fre_lightning.datasets.listing import list_images, list_masks
from fre_lightning.datasets.published import Published
from fre_lightning.datasets.split import assemble


class DAGM(Published):
    """DAGM 2007 (Wieler, Hahn and Hamprecht): ten classes of drawn textures, 512x512, grey.

    <https://doi.org/10.5281/zenodo.8086136>, under CC BY 4.0. On disk, with a label, an ellipse
    around the defect, for each defective image::

        <root>/Class<n>/{Train,Test}/*.PNG
        <root>/Class<n>/{Train,Test}/Label/<stem>_label.PNG

    The defective images in `Train` are left out.
    """

    title = "DAGM 2007"
    page = "https://doi.org/10.5281/zenodo.8086136"
    terms = "CC BY 4.0"

    def scan(self) -> Splits:
        """List the samples of both splits."""
        folder = self.find_category("Train")
        return assemble(self._list_half(folder / "Train"), self._list_half(folder / "Test"), folder)

    def _list_half(self, folder: Path) -> list[Sample]:
        masks = list_masks(folder / "Label", "_label")
        if not masks:  # all would count as good
            raise self.incomplete(f"{folder / 'Label'} is missing or holds no labels")
        found = [(path, masks.get(path.stem, ())) for path in list_images(folder)]
        return [Sample(path, DEFECT if labels else GOOD, labels) for path, labels in found]
