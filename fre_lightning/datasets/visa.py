"""VisA in its published layout."""

from fre_lightning.datasets.base import GOOD, Sample, Splits
from fre_lightning.datasets.published import Published
from fre_lightning.datasets.rows import assemble_rows, read_rows

_TABLE = "split_csv/1cls.csv"
_KINDS = {"normal": GOOD}


class VisA(Published):
    """VisA (Zou et al., 2022): twelve objects, with the split for one class.

    <https://github.com/amazon-science/spot-diff>, under CC BY 4.0. On disk, with paths and labels
    in the columns object, split, label, image and mask of a table::

        <root>/split_csv/1cls.csv
        <root>/<object>/Data/Images/{Normal,Anomaly}/*.JPG
        <root>/<object>/Data/Masks/Anomaly/*.png
    """

    title = "VisA"
    page = "https://github.com/amazon-science/spot-diff"
    terms = "CC BY 4.0"

    def scan(self) -> Splits:
        """List the samples of both splits."""
        root = self.find_root(_TABLE)
        table = root / _TABLE
        rows = read_rows(table, ("object", "split", "label", "image", "mask"))
        self.check_category(sorted({row[0] for row in rows}))
        found = [
            (split, Sample(root / image, _KINDS.get(label, label), (root / mask,) if mask else ()))
            for name, split, label, image, mask in rows
            if name == self.category
        ]
        return assemble_rows(found, table)
