"""Tables of images: CSV files with a header and a row for each image."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from fre_lightning.datasets.base import Sample, Splits
from fre_lightning.datasets.split import assemble
from fre_lightning.errors import DatasetError
from fre_lightning.files import open_text


def read_rows(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """The cells of some columns, for each row of a table, without spaces around them.

    Raises:
        DatasetError: If the table cannot be read or lacks a column.
    """
    try:
        with open_text(path) as stream:
            reader = csv.DictReader(stream)
            # Spreadsheets put a mark of the encoding before the first name.
            present = reader.fieldnames = [
                name.strip("\ufeff ") for name in reader.fieldnames or ()
            ]
            rows = [[(row.get(name) or "").strip() for name in columns] for row in reader]
    except (OSError, csv.Error) as error:
        msg = f"The table {path.absolute()} cannot be read ({error}). Correct its path or format."
        raise DatasetError(msg) from error
    missing = [name for name in columns if name not in present]
    if missing:
        msg = (
            f"The table {path.absolute()} has no column {missing[0]}; it has "
            f"{', '.join(present) or 'none'}. Name its columns in the first line, with commas."
        )
        raise DatasetError(msg)
    return rows


def check_files(samples: Iterable[Sample], table: Path) -> None:
    """Check that the images and masks that a table lists are there.

    Raises:
        DatasetError: If some are not.
    """
    files = [path for sample in samples for path in (sample.path, *sample.mask_paths)]
    missing = [path for path in files if not path.is_file()]
    if missing:
        msg = (
            f"{len(missing)} of {len(files)} files that {table.absolute()} lists are missing, for "
            f"example {missing[0].absolute()}. Add them, or correct dataset.root."
        )
        raise DatasetError(msg)


def assemble_rows(rows: Sequence[tuple[str, Sample]], table: Path) -> Splits:
    """The splits of samples, each with `train`, `test`, or another word that leaves it out.

    Raises:
        DatasetError: If a file is missing, or as `assemble`.
    """
    train, test = ([sample for half, sample in rows if half == name] for name in ("train", "test"))
    check_files([*train, *test], table)
    return assemble(train, test, table)
