"""Which of the processes of one run this is, as those who started it say in the environment."""

import os

WORKER = "FRE_WORKER"
"""Set in processes that `fre_lightning.cli.workers` started: the number of the starting one."""


def is_started() -> bool:
    """Whether torchrun, srun or `fre_lightning.cli.workers` started this process for a run."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS") or 1) > 1


def is_first() -> bool:
    """Whether this process is the first of its run, or the only one."""
    if not is_started():
        return True
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    if "LOCAL_RANK" in os.environ:
        return os.environ["LOCAL_RANK"] == os.environ.get("NODE_RANK", "0") == "0"
    return os.environ.get("SLURM_PROCID", "0") == "0"
