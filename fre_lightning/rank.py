"""Which of the processes of one run this is, as those who started it say in the environment."""

import os

WORKER = "FRE_WORKER"
"""Set in processes that `fre_lightning.cli.workers` started: the number of the starting one."""


def is_started() -> bool:
    """Whether torchrun, srun or `fre_lightning.cli.workers` started this process beside others."""
    return "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS") or 1) > 1


def rank_and_number() -> tuple[int, int]:
    """The number of this process, from 0, and how many there are; 0 and 1 if it is the only one."""
    if not is_started():
        return 0, 1
    if "RANK" in os.environ:
        return int(os.environ["RANK"]), int(os.environ.get("WORLD_SIZE", "1"))
    return int(os.environ.get("SLURM_PROCID", "0")), int(os.environ["SLURM_NTASKS"])


def is_first() -> bool:
    """Whether this process is the first of them, or the only one."""
    return rank_and_number()[0] == 0
