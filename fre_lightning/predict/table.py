"""`predictions.csv`: one row per image, written as soon as the image is judged."""

import csv
from pathlib import Path

from fre_lightning.detector.result import Box, DetectionResult
from fre_lightning.errors import OutputError
from fre_lightning.files import open_text

COLUMNS = ("path", "score", "p_value", "threshold", "is_defective", *Box._fields, "error")


class PredictionTable:
    """A CSV file of predictions; rows are on disk at once, so a crash loses none."""

    def __init__(self, path: Path) -> None:
        """Create the file, or replace it.

        Raises:
            OutputError: If it cannot be written.
        """
        self.path = path
        try:
            self._stream = open_text(path, "w")
        except OSError as error:
            raise self._failed(error) from error
        self._writer = csv.writer(self._stream)
        self._write(COLUMNS)

    def write_result(self, image: str, result: DetectionResult) -> None:
        """Add the row of a judged image.

        Raises:
            OutputError: If the file cannot be written.
        """
        values = (result.score, result.p_value, result.threshold)
        numbers = ("" if value is None else f"{value:.9g}" for value in values)
        decision = "" if result.is_defective is None else str(result.is_defective).lower()
        self._write((image, *numbers, decision, *(result.box or [""] * 4), ""))

    def write_error(self, image: str, error: object) -> None:
        """Add the row of an image that could not be read, with the reason.

        Raises:
            OutputError: If the file cannot be written.
        """
        self._write((image, *[""] * 8, " ".join(str(error).split())))

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _write(self, row: tuple[object, ...]) -> None:
        try:
            self._writer.writerow(row)
            self._stream.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        msg = f"{self.path} cannot be written ({error.strerror}). Choose another paths.output_dir."
        return OutputError(msg)
