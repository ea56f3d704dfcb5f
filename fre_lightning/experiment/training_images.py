"""What a run knows of its training images before it learns: their levels, groups and regions."""

import logging
from collections.abc import Sequence

import torch
from omegaconf import DictConfig
from torch import Tensor

from fre_lightning.collective import from_first
from fre_lightning.datasets.groups import name_groups
from fre_lightning.detector.builder import build_model
from fre_lightning.detector.model import FREModel
from fre_lightning.errors import ConfigError
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.features.cache import CachedRows, FeatureCache
from fre_lightning.images.header import Header
from fre_lightning.images.region import read_region, read_regions
from fre_lightning.images.sensor import find_intensity

log = logging.getLogger(__name__)


def new_model(
    cfg: DictConfig,
    datamodule: AnomalyDataModule,
    headers: Sequence[Header | None],
    cache: FeatureCache,
) -> FREModel:
    """An unfitted model, with the range of levels of the training images."""
    model, dataset = build_model(cfg), datamodule.dataset
    paths = [sample.path for sample in datamodule.splits.train]
    model.intensity = from_first(
        lambda: find_intensity(
            dataset.intensity,
            paths,
            headers[: len(paths)],
            dataset.files_root,
            datamodule.n_threads,
            cache.cache_dir,
        )
    )
    return model


def named_groups(
    model: FREModel, datamodule: AnomalyDataModule, rows: Sequence[CachedRows]
) -> Tensor | None:
    """The group `(N,)` of each training image that was read, if the user names groups."""
    paths = [datamodule.splits.train[index].path for index in rows[0].indices]
    names = name_groups(model.calibration.groups, paths, datamodule.dataset.files_root)
    if names is None:
        return None
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names])


def counting_regions(
    model: FREModel, datamodule: AnomalyDataModule, rows: Sequence[CachedRows]
) -> Tensor | None:
    """Where training images count, `(N, H, W)` or `(1, H, W)` bool; None: everywhere."""
    roi, train = datamodule.dataset.roi, datamodule.splits.train
    if model.is_fitted:
        if roi is not None and model.region is None:
            msg = f"dataset.roi={roi}: this checkpoint was fitted without a region. Fit it again."
            raise ConfigError(msg)
        if roi is not None and roi.is_file():
            log.info("The checkpoint's own region counts, not dataset.roi.")
        return None
    if roi is None:
        return None
    if roi.is_file():
        region = read_region(roi, train[rows[0].indices[0]].path, model.image_size)
        return None if region.all() else region[None]
    return read_regions([train[index] for index in rows[0].indices], model.image_size)
