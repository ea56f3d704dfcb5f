"""From a checkpoint to a detector that is ready for use."""

import math
from os import PathLike
from pathlib import Path

import torch
from hydra.errors import InstantiationException

from fre_lightning.datasets.regions import RegionFolder
from fre_lightning.detector.builder import restore_model
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.detector.detector import Detector
from fre_lightning.errors import CheckpointError, ConfigError
from fre_lightning.scoring.threshold import check_rate
from fre_lightning.threads import default_n_threads


def load(
    path: str | PathLike[str],
    *,
    device: str | None = None,
    false_alarm_rate: float | None = None,
    threshold: float | None = None,
    n_threads: int | None = None,
    roi: str | PathLike[str] | None = None,
    roi_root: str | PathLike[str] | None = None,
) -> Detector:
    """Load a fitted detector, without running any code that the file may hold.

    Args:
        path: A checkpoint, or the folder of the run that wrote it.
        device: `cpu`, `cuda` or `cuda:1`; None for a GPU if there is one, else the CPU.
        false_alarm_rate: The share of normal images that may be called defective; None for the
            run's.
        threshold: An image score, instead of the threshold for the rate.
        n_threads: CPU threads; None for one per core.
        roi: A folder with a region for each image that will be given as a path: a picture of the
            same name, with any ending, that is white where the image counts.
        roi_root: The folder of the images, whose sub-folders `roi` has, too; None: all regions lie
            directly in `roi`.

    Raises:
        CheckpointError: If it is missing, damaged, or not one of this program's.
        ConfigError: If an option is out of range, or there is no such device.
    """
    checkpoint = read_checkpoint(str(path))
    rate = checkpoint.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
    check_rate(rate)
    n_threads = find_n_threads(n_threads)
    if threshold is not None and not math.isfinite(threshold):
        msg = f"threshold={threshold} must be a number."
        raise ConfigError(msg)
    try:
        model = restore_model(checkpoint)
    except (RuntimeError, TypeError, InstantiationException) as error:
        msg = f"{path} does not fit this version of fre_lightning: {error}. Fit it again."
        raise CheckpointError(msg) from error
    if roi is not None and model.region is None:
        msg = f"roi={roi}: {path} was fitted without a region. Fit it with dataset.roi."
        raise ConfigError(msg)
    model = model.to(find_device(device))
    root = None if roi_root is None else Path(roi_root)
    regions = None if roi is None else RegionFolder(Path(roi), root)
    return Detector(model, rate, threshold, n_threads, checkpoint.config, regions)


def find_n_threads(n_threads: int | None) -> int:
    """The number of CPU threads; None: one per core.

    Raises:
        ConfigError: If it is not positive.
    """
    if n_threads is None:
        return default_n_threads()
    if n_threads < 1:
        msg = f"n_threads={n_threads} must be at least 1."
        raise ConfigError(msg)
    return n_threads


def find_device(name: str | None) -> torch.device:
    """The device of a name; None: a GPU if there is one, else the CPU.

    Raises:
        ConfigError: If there is no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        msg = f"device={name} cannot be used ({reason}). Choose cpu or cuda."
        raise ConfigError(msg) from error
    return device
