"""What Hydra calls around the runs: a look at the output folder before, one table after."""

import contextlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from fre_lightning.errors import FREError
from fre_lightning.files import replacing
from fre_lightning.results.table import Outcome, print_results, tabulate, write_results

ERROR_FILE = "error.json"
"""In the folder of a failed run: its category and its error."""

log = logging.getLogger(__name__)


class SweepResults(Callback):
    """Gathers the outcome of each job and writes the table at the end of a multirun."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []
        self._folders: list[Path] = []

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """See that the run's folder can be made before anything is done."""
        _require_writable(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """See that the sweep's folder can be made before anything is done."""
        _require_writable(Path(config.hydra.sweep.dir))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Forget that an earlier job in the same folder failed."""
        with contextlib.suppress(OSError):
            (Path(config.hydra.runtime.output_dir) / ERROR_FILE).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Keep what the task returned; a failed job of a sweep returns its error."""
        if job_return.status == JobStatus.COMPLETED:
            overrides, outcome = list(config.hydra.overrides.task), job_return.return_value
            self._outcomes.append({**outcome, "overrides": overrides})
            folder = Path(config.hydra.runtime.output_dir)
            self._folders.append(folder)
            if "error" in outcome:
                with contextlib.suppress(OSError), replacing(folder / ERROR_FILE) as temporary:
                    temporary.write_text(json.dumps(outcome) + "\n")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write and print the table."""
        folder = Path(config.hydra.sweep.dir)
        if self._outcomes:
            table = tabulate(self._outcomes)
            write_results(folder, table)
            print_results(table, folder)
            if config.get("report"):
                _write_report(folder, self._folders)


def _write_report(folder: Path, runs: list[Path]) -> None:
    """Write the sweep's report; the runs' results are safe whatever becomes of it."""
    from fre_lightning.report import write_report

    path = folder / "report.html"
    try:
        write_report(path, runs)
    except (OSError, FREError) as error:
        log.error("The report could not be written: %s", error)
    else:
        log.info("Report: %s", path)


def _require_writable(folder: Path) -> None:
    """Make a folder, or end the program: Hydra itself would print a traceback."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.stderr.write(
            f"The output folder {folder} cannot be made ({error.strerror}). Choose another with "
            "hydra.run.dir=DIR, or hydra.sweep.dir=DIR for a sweep.\n"
        )
        raise SystemExit(2) from error
