"""A Hydra callback that writes a sweep's table."""

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from fre_lightning.errors import FREError
from fre_lightning.files import write_json
from fre_lightning.results import run_folder
from fre_lightning.results.sweep_jobs import one_at_a_time, read_jobs

if TYPE_CHECKING:
    from fre_lightning.results.table import ResultsTable

log = logging.getLogger(__name__)


class SweepResults(Callback):
    """Writes the table of a multirun after each job, so that whatever stops it loses none.

    Jobs start and end in any process, the multirun in that of the command.
    """

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Remove the error of an earlier job in the same folder."""
        with contextlib.suppress(OSError):
            (Path(config.hydra.runtime.output_dir) / run_folder.ERROR).unlink()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Store the error of a failed job of a sweep; a finished one has stored its results."""
        if job_return.status == JobStatus.COMPLETED:
            folder = Path(config.hydra.runtime.output_dir)
            if "error" in job_return.return_value:
                with contextlib.suppress(OSError):
                    write_json(folder / run_folder.ERROR, job_return.return_value)
            if config.hydra.mode == RunMode.MULTIRUN:
                _write_table(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the table, and write the report."""
        folder = Path(config.hydra.sweep.dir)
        if jobs := read_jobs(folder):
            n_before = sum(job.was_finished for job in jobs)
            if n_before:
                log.info("%d of %d jobs were finished before, and skipped.", n_before, len(jobs))
            _end(folder, [Path(job.folder) for job in jobs], report=bool(config.get("report")))


def _write_table(folder: Path) -> "ResultsTable":
    from fre_lightning.results.stored_run import read_run
    from fre_lightning.results.sweep_table import write_results
    from fre_lightning.results.table import ResultsTable

    with one_at_a_time(folder):
        paths = dict.fromkeys(Path(job.folder) for job in read_jobs(folder))
        table = ResultsTable([read_run(path) for path in paths])
        write_results(folder, table)
    return table


def _end(folder: Path, runs: list[Path], *, report: bool) -> None:
    from fre_lightning.report import write_report
    from fre_lightning.results.sweep_table import print_results

    print_results(_write_table(folder), folder)
    if report:
        try:
            write_report(folder / run_folder.REPORT, runs)
            log.info("Report: %s", folder / run_folder.REPORT)
        except (OSError, FREError) as error:  # the runs' results are safe all the same
            log.error("The report could not be written: %s", error)
