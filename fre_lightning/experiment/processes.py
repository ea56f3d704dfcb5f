"""The processes of one run (`trainer=ddp`), whoever started them."""

import logging
import os
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric.fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from torch import distributed

from fre_lightning.collective import n_processes, rank
from fre_lightning.errors import ConfigError
from fre_lightning.rank import WORKER, is_started

log = logging.getLogger(__name__)

_TIMEOUT = timedelta(days=1)
"""For the slowest process. The death of one is noticed at once, as its connections close."""

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def join_processes(cfg: DictConfig) -> dict[str, Any]:
    """Let this process take part in a run that is divided; it meets the others.

    Args:
        cfg: The configuration of the run.

    Returns:
        The settings of Lightning's trainer in this process, which has one device; nothing if the
        run is not divided.

    Raises:
        ConfigError: If nobody started the processes, or devices are missing.
    """
    settings = cfg.trainer
    if settings.get("strategy") is None:
        return {}
    if not is_started():
        msg = (
            "trainer=ddp starts the command again for each process, so it works on the command "
            "line alone: python -m fre_lightning trainer=ddp, or under torchrun or srun."
        )
        raise ConfigError(msg)
    backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=DDPStrategy(process_group_backend=backends, timeout=_TIMEOUT),
            plugins=[_environment()],
        )
        fabric.launch()
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        msg = f"The processes of trainer=ddp cannot meet: {error}"
        raise ConfigError(msg) from error
    log.info("%d processes", n_processes())
    is_gpu = fabric.device.type == "cuda"
    return {
        "accelerator": "cuda" if is_gpu else "cpu",
        "devices": [fabric.device.index] if is_gpu else 1,
        "num_nodes": 1,
        "strategy": "auto",
    }


def leave_processes() -> bool:
    """Wait for the others, then go on alone; whether this is the first process, or the only one."""
    is_first = rank() == 0
    if n_processes() > 1:
        distributed.barrier()
    if distributed.is_initialized():
        distributed.destroy_process_group()
    return is_first


def _environment() -> ClusterEnvironment:
    if WORKER in os.environ:
        return LightningEnvironment()
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    return (
        SLURMEnvironment(auto_requeue=False)
        if SLURMEnvironment.detect()
        else LightningEnvironment()
    )
