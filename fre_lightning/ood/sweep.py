"""A Hydra callback that writes the mean and the spread of a sweep, for example over seeds."""

from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig


class SweepMeans(Callback):
    """Writes `results.csv` of a multirun: means over its jobs and their standard deviations."""

    def __init__(self) -> None:
        self._folders: list[Path] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Remember the folder of a finished job."""
        finished = job_return.status == JobStatus.COMPLETED
        if finished and "error" not in job_return.return_value:
            self._folders.append(Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write and print the table."""
        if config.hydra.mode != RunMode.MULTIRUN or not self._folders:
            return
        from fre_lightning.ood.results import print_rows, read_rows, spread, write_rows

        folder, runs = Path(config.hydra.sweep.dir), [read_rows(path) for path in self._folders]
        rows = spread(runs)
        write_rows(folder, rows)
        print_rows(rows, f"mean and standard deviation of {len(runs)} runs", folder)
