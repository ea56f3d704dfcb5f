"""A Hydra callback that writes the means and the spread of a sweep over seeds."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from fre_lightning.results.sweep_jobs import read_jobs


class SweepMeans(Callback):
    """Writes `results.csv` of a multirun: means over seeds and their standard deviations.

    Jobs that differ in more than their seed are different methods.
    """

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write and print the table."""
        folder = Path(config.hydra.sweep.dir)
        jobs = [
            (Path(job.folder), [s for s in job.overrides if not s.startswith("seed=")])
            for job in read_jobs(folder)
            if job.exit_code == 0
        ]
        if not jobs:
            return
        from fre_lightning.ood.results import print_rows, read_rows, spread, write_rows

        settings_of_all = [settings for _, settings in jobs]
        runs = []
        for job, settings in jobs:
            own = [s for s in settings if not all(s in others for others in settings_of_all)]
            runs.append(
                [row | {"method": ", ".join([row["method"], *own])} for row in read_rows(job)]
            )
        rows = spread(runs)
        write_rows(folder, rows)
        print_rows(rows, f"mean and standard deviation over {len(runs)} runs", folder)
