"""What is written of judged images: a row each, counts and drift, read again after a restart."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fre_lightning.detector.judge import Judge, Judged
from fre_lightning.errors import ConfigError, OutputError
from fre_lightning.files import write_json
from fre_lightning.predict.shard import Shard
from fre_lightning.predict.table import PredictionTable
from fre_lightning.predict.watch import Arrival, FolderWatcher

log = logging.getLogger(__name__)

_IN_ROWS = {"true": True, "false": False, "": None}
_UNREADABLE = "unreadable"


class Recorder:
    """Writes `predictions.csv` and `summary.json`.

    Args:
        output_dir: Where to write. If a folder is watched, earlier rows there count on.
        detector: Whose outcomes come.
        watcher: What the images come from, if a folder is watched.
        shard: Which part of the images comes, if not all; files have its name.

    Attributes:
        path: The table.
        counts: Number of images by decision (`Judge.words`), and of those that are `unreadable`.

    Raises:
        OutputError: If the table cannot be written.
    """

    def __init__(
        self,
        output_dir: Path,
        detector: Judge[Any],
        watcher: FolderWatcher | None = None,
        shard: Shard | None = None,
    ) -> None:
        names = ("predictions.csv", "summary.json")
        table, summary = map(shard.name, names) if shard else names
        self.path = output_dir / table
        self.counts = Counter[str]()
        self._summary_path = output_dir / summary
        self._detector, self._watcher = detector, watcher
        self._table = PredictionTable(self.path, detector.columns, watch=watcher is not None)
        if watcher:
            self._go_on(watcher)

    def record(self, outcomes: Iterable[Judged[Any]]) -> Iterator[Judged[Any]]:
        """Write and count each outcome that counts, then yield it.

        Raises:
            OutputError: If it cannot be written.
        """
        for outcome in outcomes:
            drift = self._detector.drift
            if drift and drift.noticed_at == drift.n_images:
                self._write_summary()
            if self._watcher and self._watcher.postpone(outcome):
                continue
            image, _, result, error = outcome
            modified = image.stamp.modified if isinstance(image, Arrival) else ""
            if result is None:
                self._table.write_error(str(image), error, modified)
                self.counts[_UNREADABLE] += 1
            else:
                row = self._detector.row(result)
                self._table.write_result(str(image), row, modified)
                self.counts[self._detector.words[row[self._detector.decides]]] += 1
            yield outcome

    def close(self) -> None:
        """Close the table and write the summary.

        Raises:
            OutputError: If it cannot be written.
        """
        self._table.close()
        self._write_summary()

    def _go_on(self, watcher: FolderWatcher) -> None:
        """Take up the counts, the drift and the memory of an earlier watch."""
        detector = self._detector
        for row in self._table.rows():
            watcher.skip(row["path"], row["modified"])
            word = detector.words[_IN_ROWS[row[detector.decides]]]
            self.counts[_UNREADABLE if row["error"] else word] += 1
            if row["p_value"]:
                detector.note(float(row["p_value"]), row["path"])
        if self.counts:
            log.info("Going on after the %d images in %s", self.counts.total(), self.path)
        else:
            folder = self.path.parent
            log.info("To go on after a restart, add paths.output_dir=%s to the command.", folder)

    def _write_summary(self) -> None:
        drift = self._detector.drift
        content = {
            "images": dict(sorted(self.counts.items())),
            **self._detector.settings,
            "drift": None if drift is None else drift._asdict(),
        }
        try:
            write_json(self._summary_path, content)
        except OSError as error:
            msg = (
                f"{self._summary_path} cannot be written ({error.strerror}). "
                "Choose another paths.output_dir."
            )
            raise OutputError(msg) from error


@contextmanager
def claim(output_dir: Path) -> Iterator[None]:
    """Keep other watchers from writing into a folder.

    Raises:
        ConfigError: If there is one.
    """
    lock = FileLock(output_dir / ".watch.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        msg = f"Another process watches and writes into {output_dir}. Choose another folder."
        raise ConfigError(msg) from error
    try:
        yield
    finally:
        lock.release()
