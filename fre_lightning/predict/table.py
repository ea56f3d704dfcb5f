"""`predictions.csv`: a row per image, on disk as soon as it is known."""

import csv
from pathlib import Path
from types import TracebackType

from fre_lightning.detector.result import DetectionResult
from fre_lightning.errors import OutputError

COLUMNS = (
    *("path", "score", "p_value", "threshold", "is_defective"),
    *("x0", "y0", "x1", "y1", "error"),
)


class PredictionTable:
    """Writes rows; a crash loses none of those written."""

    def __init__(self, path: Path) -> None:
        """Start the file anew.

        Raises:
            OutputError: If it cannot be written.
        """
        self.path = path
        try:
            # Names of files need not be text; their bytes come out as they went in.
            self._stream = path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise self._failed(error) from error
        self._writer = csv.writer(self._stream)
        self._write(COLUMNS)

    def write_result(self, image: str, result: DetectionResult) -> None:
        """Add what a detector says of an image.

        Raises:
            OutputError: If the file cannot be written.
        """
        values = (result.score, result.p_value, result.threshold)
        numbers = ("" if value is None else f"{value:.9g}" for value in values)
        decision = "" if result.is_defective is None else str(result.is_defective).lower()
        self._write((image, *numbers, decision, *(result.box or [""] * 4), ""))

    def write_error(self, image: str, error: Exception) -> None:
        """Add why an image could not be read.

        Raises:
            OutputError: If the file cannot be written.
        """
        self._write((image, *[""] * 8, " ".join(str(error).split())))

    def __enter__(self) -> "PredictionTable":
        """Nothing more to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
