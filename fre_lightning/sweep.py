"""What Hydra calls around the runs: a look at the output folder before, one table after."""

import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from fre_lightning.results import Outcome, print_results, tabulate, write_results


class SweepResults(Callback):
    """Gathers the outcome of each job and writes the table at the end of a multirun."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """See that the run's folder can be made before anything is done."""
        _require_writable(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """See that the sweep's folder can be made before anything is done."""
        _require_writable(Path(config.hydra.sweep.dir))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Keep what the task returned; a failed job of a sweep returns its error."""
        if job_return.status == JobStatus.COMPLETED:
            overrides = list(config.hydra.overrides.task)
            self._outcomes.append({**job_return.return_value, "overrides": overrides})

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write and print the table."""
        folder = Path(config.hydra.sweep.dir)
        if self._outcomes:
            table = tabulate(self._outcomes)
            write_results(folder, table)
            print_results(table, folder)


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
