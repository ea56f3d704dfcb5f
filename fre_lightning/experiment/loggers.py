"""What loggers keep of a run beside its metrics: settings, the report, the model."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

from fre_lightning.detector.checkpoint import FILE_NAME
from fre_lightning.files import visible
from fre_lightning.results import run_folder

_ARTIFACTS = (run_folder.REPORT, FILE_NAME)


def hyperparameters(cfg: DictConfig, summary: dict[str, Any]) -> dict[str, Any]:
    """The scalar settings of a run, by name."""
    reducer = {f"reducer/{k}": v for k, v in cfg.reducer.items() if k != "_target_"}
    described = {k: v for k, v in summary.items() if isinstance(v, str | int) or k == "image_size"}
    described |= {k: visible(v) for k, v in described.items() if isinstance(v, str)}
    return described | reducer


def attach(loggers: Sequence[Any], folder: Path, settings: dict[str, Any]) -> None:
    """Give loggers the settings of a finished run and, where they take files, report and model.

    TensorBoard takes no files, and gets its settings with the pictures of a test.

    Args:
        loggers: Lightning's.
        folder: The run's.
        settings: By name.
    """
    files = [path for name in _ARTIFACTS if (path := folder / name).is_file()]
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            continue
        logger.log_hyperparams(settings)
        if isinstance(logger, WandbLogger):
            import wandb

            artifact = wandb.Artifact(f"run-{logger.version}", "run")
            for path in files:
                artifact.add_file(str(path))
            logger.experiment.log_artifact(artifact)
        elif isinstance(logger, MLFlowLogger):
            for path in files:
                logger.experiment.log_artifact(logger.run_id, str(path))
        logger.finalize("success")


@contextmanager
def ended() -> Iterator[None]:
    """End what the body began at Weights & Biases: a sweep's next job would go on in it."""
    before = _wandb_run()
    try:
        yield
    finally:
        if (run := _wandb_run()) is not None and run is not before:
            run.finish(exit_code=int(sys.exc_info()[0] is not None))


def _wandb_run() -> Any:
    """The run that is going on; None also if the package was not even imported."""
    return getattr(sys.modules.get("wandb"), "run", None)
