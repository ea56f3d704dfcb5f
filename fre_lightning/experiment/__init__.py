"""One run from configuration to results: the one room that uses Lightning."""

from typing import Any

from omegaconf import DictConfig

import fre_lightning.config  # noqa: F401 - registers what configurations are resolved by

__all__ = ["run"]


def run(cfg: DictConfig, *, quiet: bool = False) -> dict[str, Any]:
    """Call `experiment.job.run`, imported only now: Lightning takes seconds."""
    from fre_lightning.experiment import job

    return job.run(cfg, quiet=quiet)
