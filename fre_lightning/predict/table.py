"""`predictions.csv`: one row per image, written as soon as the image is judged."""

import csv
from collections.abc import Iterator
from pathlib import Path

from fre_lightning.detector.result import Box, DetectionResult
from fre_lightning.errors import OutputError
from fre_lightning.files import open_text

COLUMNS = ("path", "score", "p_value", "threshold", "is_defective", *Box._fields, "error")
WATCH_COLUMNS = (*COLUMNS, "modified")
"""Of a watched folder: the time of a file's modification tells it from one that replaces it."""

_END = b"\r\n"  # of a row, as the module csv writes it


class PredictionTable:
    """A CSV file of predictions; rows are on disk at once, so a crash loses none."""

    def __init__(self, path: Path, *, watch: bool = False) -> None:
        """Create the file, or replace it; that of a watched folder goes on.

        Raises:
            OutputError: If it cannot be written, or goes on and is no table of a watched folder.
        """
        self.path = path
        try:
            is_new = not (watch and self._mend())
            self._stream = open_text(path, "w" if is_new else "a")
        except OSError as error:
            raise self._failed(error) from error
        self._writer = csv.writer(self._stream)
        if is_new:
            self._write(WATCH_COLUMNS if watch else COLUMNS)

    def rows(self) -> Iterator[dict[str, str]]:
        """The rows so far."""
        with open_text(self.path) as stream:
            yield from csv.DictReader(stream)

    def write_result(self, image: str, result: DetectionResult, modified: str = "") -> None:
        """Add the row of a judged image.

        Args:
            image: Its path.
            result: Its result.
            modified: When the file was modified, for the table of a watched folder.

        Raises:
            OutputError: If the file cannot be written.
        """
        values = (result.score, result.p_value, result.threshold)
        numbers = ("" if value is None else f"{value:.9g}" for value in values)
        decision = "" if result.is_defective is None else str(result.is_defective).lower()
        self._write((image, *numbers, decision, *(result.box or [""] * 4), ""), modified)

    def write_error(self, image: str, error: object, modified: str = "") -> None:
        """Add the row of an image that could not be read, with the reason.

        Raises:
            OutputError: If the file cannot be written.
        """
        self._write((image, *[""] * 8, " ".join(str(error).split())), modified)

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
        header = ",".join(WATCH_COLUMNS).encode() + _END
        with self.path.open("r+b") as stream:
            content = stream.read()
            if not (content.startswith(header) or header.startswith(content)):
                msg = (
                    f"{self.path} is no table of a watched folder. Choose another paths.output_dir."
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
