"""Your own images in any layout, listed in a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from fre_lightning.datasets.base import GOOD, AnomalyDataset, Sample, Splits
from fre_lightning.datasets.rows import assemble_rows, check_files, read_rows
from fre_lightning.datasets.split import split_at_random


@dataclass(eq=False)
class Table(AnomalyDataset):
    """Images in any layout, listed in a CSV file with a header and a row for each image.

    Args:
        root: The folder that the paths in the table are relative to.
        category: Its name in tables and folders; None stands for the name of `root`.
        skip_unreadable: Whether an image that cannot be decoded is left out, not an error.
        intensity: Which levels are black and white, as in `AnomalyDataset`.
        roi: Where images count, as in `AnomalyDataset`.
        table: The file, below `root` or anywhere.
        path: The column of the images' paths.
        label: The column of labels: one of `good_labels`, or the name of the defect type.
        good_labels: What stands for a good image.
        split: The column that says `train` or `test`; rows with another word are left out, as are
            defective ones to learn from. None: a random fraction of the good images is tested on,
            and all defective ones.
        mask: The column of the masks' paths, empty for good images. None: there are no masks.
        test_fraction: Share of the good images to test on without `split`, in [0, 1).
        seed: Seed of that draw.
    """

    table: str
    path: str
    label: str
    good_labels: Sequence[str]
    split: str | None
    mask: str | None
    test_fraction: float
    seed: int

    def scan(self) -> Splits:
        """List the samples of both splits."""
        table = self.root / self.table
        # A column that there is none of is not looked at.
        columns = (self.path, self.label, self.split or self.path, self.mask or self.path)
        found = [
            (split.lower(), self._sample(path, label, mask))
            for path, label, split, mask in read_rows(table, columns)
        ]
        if self.split is not None:
            return assemble_rows(found, table)
        samples = [sample for _, sample in found]
        check_files(samples, table)
        return split_at_random(samples, self.test_fraction, self.seed, table)

    def _sample(self, path: str, label: str, mask: str) -> Sample:
        # YAML reads a label 0 as a number.
        is_good = label in map(str, self.good_labels)
        has_mask = self.mask is not None and mask and not is_good
        masks = (self.root / mask,) if has_mask else ()
        return Sample(self.root / path, GOOD if is_good else label, masks)
