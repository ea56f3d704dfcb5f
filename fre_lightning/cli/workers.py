"""The processes of one run on this machine: `trainer=ddp` starts them, and waits for them.

They are the same command again, as Lightning's and torch's own launchers do it. Unlike those this
one tells in a sentence what became of them.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fre_lightning.arguments import mend
from fre_lightning.errors import ConfigError, FREError
from fre_lightning.rank import WORKER, is_started

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0
"""For the others to see for themselves that one has ended."""


class WorkerError(FREError):
    """A process of a run that ended early, and could not say why."""


def is_divided(cfg: DictConfig) -> bool:
    """Whether a run asks for several processes."""
    return OmegaConf.select(cfg, "trainer.strategy") is not None


def needs_workers(cfg: DictConfig) -> bool:
    """Whether a run asks for several processes, and this is none of them.

    Raises:
        ConfigError: In a sweep: each job would start its own beside those of others.
    """
    if not is_divided(cfg):
        return False
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        msg = (
            "trainer=ddp divides one run among processes; a sweep divides its runs, with "
            "hydra/launcher=joblib, submitit_slurm or ray. Choose one of the two."
        )
        raise ConfigError(msg)
    return not is_started()


def end_with_parent() -> None:
    """End this process, if it was started by `run_workers`, when that one is gone."""
    if WORKER not in os.environ:
        return

    def watch() -> None:
        while str(os.getppid()) == os.environ[WORKER]:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_workers(cfg: DictConfig) -> int:
    """Start the processes of this machine, wait for them, and return their exit code.

    Args:
        cfg: The run's configuration.

    Raises:
        WorkerError: If one was killed. The others are ended, too.
    """
    n_workers, node = _count(cfg.trainer.devices), int(os.environ.get("NODE_RANK", "0"))
    environment = os.environ | {
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(_free_port()),
        "NODE_RANK": str(node),
        "WORLD_SIZE": str(n_workers * cfg.trainer.num_nodes),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(_n_cores() // n_workers or 1),
        WORKER: str(os.getpid()),
    }
    workers = [
        # In a session of its own: Ctrl-C comes to this process, which ends them.
        subprocess.Popen(
            _command(),
            env=environment | {"LOCAL_RANK": str(local), "RANK": str(node * n_workers + local)},
            start_new_session=True,
        )
        for local in range(n_workers)
    ]
    try:
        return _wait(workers)
    finally:
        _end(workers)


def _command() -> list[str]:
    """This command again, in the folder that was made for it."""
    module = sys.modules["__main__"].__spec__
    start = ["-m", module.name.removesuffix(".__main__")] if module else [sys.argv[0]]
    folder = Path(HydraConfig.get().runtime.output_dir)
    own = [mend(f"hydra.run.dir={folder}"), "hydra.output_subdir=null"]
    return [sys.executable, *start, *sys.argv[1:], *own]


def _count(devices: Any) -> int:
    """The number of processes for Lightning's `devices`."""
    if isinstance(devices, int) and devices > 0:
        return devices
    if OmegaConf.is_list(devices):
        return len(devices)
    from torch.cuda import device_count  # heavy

    return device_count() or 1


def _n_cores() -> int:
    from fre_lightning.threads import default_n_threads  # heavy

    return default_n_threads()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def _wait(workers: Sequence["subprocess.Popen[bytes]"]) -> int:
    """The exit code of the run; see `run_workers`."""
    first_failure = None
    while None in (codes := [worker.poll() for worker in workers]):
        if any(codes):
            first_failure = first_failure or time.monotonic()
            if codes[0] or time.monotonic() - first_failure > _GRACE_SECONDS:
                break
        time.sleep(_POLL_SECONDS)
    if (codes[0] or 0) > 0 or not any(codes):
        return codes[0] or 0  # the first process has told why
    rank, code = next((rank, code) for rank, code in enumerate(codes) if code)
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    msg = (
        f"Process {rank + 1} of {len(workers)} of this run was ended {how}, and the others with "
        "it. Start the same command again: it goes on with the features that were extracted."
    )
    raise WorkerError(msg)


def _end(workers: Sequence["subprocess.Popen[bytes]"]) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for worker in workers:
        try:
            worker.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
