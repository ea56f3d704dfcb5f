"""A Hydra callback that writes the means and the spread of a sweep over seeds."""

from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig


class SweepMeans(Callback):
    """Writes `results.csv` of a multirun: means over seeds and their standard deviations.

    Jobs that differ in more than their seed are different methods.
    """

    def __init__(self) -> None:
        self._jobs: list[tuple[Path, list[str]]] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Remember the folder of a finished job."""
        finished = job_return.status == JobStatus.COMPLETED
        if finished and "error" not in job_return.return_value:
            folder, settings = Path(config.hydra.runtime.output_dir), job_return.overrides or []
            self._jobs.append((folder, [s for s in settings if not s.startswith("seed=")]))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write and print the table."""
        if config.hydra.mode != RunMode.MULTIRUN or not self._jobs:
            return
        from fre_lightning.ood.results import print_rows, read_rows, spread, write_rows

        folder, settings_of_all = Path(config.hydra.sweep.dir), [job[1] for job in self._jobs]
        runs = []
        for job, settings in self._jobs:
            own = [s for s in settings if not all(s in others for others in settings_of_all)]
            runs.append(
                [row | {"method": ", ".join([row["method"], *own])} for row in read_rows(job)]
            )
        rows = spread(runs)
        write_rows(folder, rows)
        print_rows(rows, f"mean and standard deviation over {len(runs)} runs", folder)
