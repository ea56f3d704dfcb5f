"""elpv, the solar cells, from its installed package or a copy."""

from importlib.util import find_spec
from pathlib import Path

from fre_lightning.datasets.base import GOOD, Sample, Splits
from fre_lightning.datasets.published import Unsplit
from fre_lightning.datasets.rows import check_files
from fre_lightning.files import open_text

_TABLE = "labels.csv"


class ELPV(Unsplit):
    """elpv (Buerhop et al., 2018): 2,624 cells of solar modules, electroluminescence, 300x300.

    <https://github.com/zae-bayern/elpv-dataset>, under CC BY-NC-SA 4.0, and as the package
    `elpv-dataset`. On disk, with the path, the probability of a defect and the kind of cell in each
    row of a table without a header::

        <root>/labels.csv
        <root>/images/cell<nnnn>.png

    Cells of probability 0 are good; the others' defect types are `probability_033`,
    `probability_067` and `probability_100`. There are no masks and no splits. The category is the
    kind of cell, `mono` or `poly`, or `all`. Without a `root` the installed package is read.
    """

    title = "elpv"
    page = "https://github.com/zae-bayern/elpv-dataset, or with `pip install elpv-dataset`"
    terms = "CC BY-NC-SA 4.0, not for commercial use"

    def __post_init__(self) -> None:
        if not self.root:
            package = find_spec("elpv_dataset")
            folders = package.submodule_search_locations if package else None
            self.root = Path(folders[0] if folders else "elpv_dataset") / "data"
        super().__post_init__()

    def scan(self) -> Splits:
        """List the samples of both splits."""
        table = self.find_root(_TABLE) / _TABLE
        with open_text(table) as stream:
            rows = [line.split() for line in stream if line.strip()]
        if any(len(row) != 3 for row in rows):
            raise self.incomplete(f"{table} has rows other than path, probability and kind")
        self.check_category([*sorted({kind for _, _, kind in rows}), "all"])
        samples = [
            Sample(table.parent / path, _defect_type(float(probability)))
            for path, probability, kind in rows
            if self.category in {kind, "all"}
        ]
        check_files(samples, table)
        return self.split(samples)


def _defect_type(probability: float) -> str:
    return f"probability_{round(100 * probability):03d}" if probability else GOOD
