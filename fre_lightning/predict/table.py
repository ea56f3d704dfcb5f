"""`predictions.csv`: one row per image, written as soon as the image is judged."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fre_lightning.errors import OutputError
from fre_lightning.files import open_text

_BEFORE, _AFTER = ("path",), ("error",)
_OF_WATCHED = ("modified",)
"""Of a watched folder: the time of a file's modification tells it from one that replaces it."""

_END = b"\r\n"  # of a row, as the module csv writes it


class PredictionTable:
    """A CSV file of predictions; rows are on disk at once, so a crash loses none.

    Args:
        path: The file, which is made, or replaced; that of a watched folder goes on.
        columns: Those of results; the path stands before, and an error after them.
        watch: Whether a folder is watched.

    Raises:
        OutputError: If it cannot be written, or goes on and is no table of a watched folder.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, watch: bool = False) -> None:
        self.path = path
        self._columns = columns
        self._header = (*_BEFORE, *columns, *_AFTER, *(_OF_WATCHED if watch else ()))
        try:
            is_new = not (watch and self._mend())
            self._stream = open_text(path, "w" if is_new else "a")
        except OSError as error:
            raise self._failed(error) from error
        self._writer = csv.writer(self._stream)
        if is_new:
            self._write(self._header)

    def rows(self) -> Iterator[dict[str, str]]:
        """The rows so far."""
        with open_text(self.path) as stream:
            yield from csv.DictReader(stream)

    def write_result(self, image: str, values: Mapping[str, object], modified: str = "") -> None:
        """Add the row of a judged image.

        Args:
            image: Its path.
            values: The value of each column; what is None stays empty.
            modified: When the file was modified, for the table of a watched folder.

        Raises:
            OutputError: If the file cannot be written.
        """
        self._write((image, *(_text(values[name]) for name in self._columns), ""), modified)

    def write_error(self, image: str, error: object, modified: str = "") -> None:
        """Add the row of an image that could not be read, with the reason.

        Raises:
            OutputError: If the file cannot be written.
        """
        nothing = [""] * len(self._columns)
        self._write((image, *nothing, " ".join(str(error).split())), modified)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _mend(self) -> bool:
        """Cut off a row that a killed program left half written; whether there is a table.

        Raises:
            OSError: If it cannot be read or written.
            OutputError: If it has other columns.
        """
        if not self.path.exists():
            return False
        header = ",".join(self._header).encode() + _END
        with self.path.open("r+b") as stream:
            content = stream.read()
            if not (content.startswith(header) or header.startswith(content)):
                msg = (
                    f"{self.path} is no table of a watched folder that this detector wrote. "
                    "Choose another paths.output_dir."
                )
                raise OutputError(msg)
            whole = content.rfind(_END) + len(_END) if len(content) >= len(header) else 0
            stream.truncate(whole)
        return whole > 0

    def _write(self, row: tuple[object, ...], modified: str = "") -> None:
        try:
            self._writer.writerow((*row, modified) if modified else row)
            self._stream.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        msg = f"{self.path} cannot be written ({error.strerror}). Choose another paths.output_dir."
        return OutputError(msg)


def _text(value: object) -> str:
    """A value as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.9g}" if isinstance(value, float) else str(value)
