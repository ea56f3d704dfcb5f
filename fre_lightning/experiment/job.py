"""One run from configuration to results: the order of its steps."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, open_dict
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor

from fre_lightning.config import build
from fre_lightning.datasets.groups import name_groups
from fre_lightning.detector.builder import build_model, detector_config, restore_model
from fre_lightning.detector.checkpoint import (
    DETECTOR_GROUPS,
    FILE_NAME,
    Checkpoint,
    read_checkpoint,
)
from fre_lightning.detector.model import FREModel
from fre_lightning.errors import ConfigError
from fre_lightning.experiment.batches import FeatureBatches, load_test_batches
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.experiment.extraction import load_features
from fre_lightning.experiment.loggers import ended
from fre_lightning.experiment.module import FREModule
from fre_lightning.experiment.sizing import check_aspect, with_image_size
from fre_lightning.experiment.summary import Stopwatch, summarize
from fre_lightning.experiment.trainer import make_trainer, seed_everything
from fre_lightning.experiment.twins import find_twins, log_twins
from fre_lightning.experiment.writing import illustrate, write_results
from fre_lightning.features.cache import CachedRows, FeatureCache
from fre_lightning.files import make_output_dir, replacing, write_json
from fre_lightning.images.header import Header, read_headers
from fre_lightning.images.health import examine, log_health
from fre_lightning.images.notices import start_run
from fre_lightning.images.region import read_region, read_regions
from fre_lightning.images.sensor import find_intensity
from fre_lightning.progress import progress
from fre_lightning.results import run_folder
from fre_lightning.results.console import print_metrics
from fre_lightning.results.finished import (
    find_origin,
    mark_finished,
    results_if_finished,
    unmark,
)
from fre_lightning.scoring.threshold import check_rate
from fre_lightning.threads import within_quota

log = logging.getLogger(__name__)

_METRIC_SIZES = ("image", "mask")


@ended()
@isolate_rng()
def run(cfg: DictConfig, *, quiet: bool = False) -> dict[str, Any]:
    """Extract features, fit, test, write. Random numbers go on as if it had not been called.

    Args:
        cfg: As composed from `configs/`. Outside Hydra's own runs, set `paths.output_dir`.
        quiet: Whether the table of metrics is not printed.

    Returns:
        The content of `metrics.json`.

    Raises:
        FREError: For anything that the user can fix.
    """
    _check_settings(cfg)
    watch = Stopwatch()
    start(cfg)
    output_dir = make_output_dir(cfg.paths.output_dir)
    # As an argument of `build`, a dataclass would become a dictionary.
    datamodule: AnomalyDataModule = build(cfg.datamodule, _partial_=True)(build(cfg.dataset))
    datamodule.setup()
    origin = find_origin(cfg, (*datamodule.splits.train, *datamodule.splits.test))
    if cfg.resume and (stored := results_if_finished(output_dir, origin)):
        return stored
    summary = _run_on(datamodule, cfg, output_dir, watch, quiet=quiet)
    mark_finished(output_dir, origin)
    return summary


def _run_on(
    datamodule: AnomalyDataModule,
    cfg: DictConfig,
    output_dir: Path,
    watch: Stopwatch,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Do the work of `run` on a dataset that is listed."""
    checkpoint = read_checkpoint(cfg.checkpoint) if cfg.checkpoint else None
    if checkpoint:
        cfg = _with_detector_of(cfg, checkpoint)
    splits, root = datamodule.splits, datamodule.dataset.files_root
    samples = (*splits.train, *splits.test)
    headers = read_headers([sample.path for sample in samples], datamodule.n_threads)
    health = examine(splits, headers, root)
    log_health(health)
    cache: FeatureCache = build(cfg.cache)
    cfg = cfg if checkpoint else with_image_size(cfg, headers[: len(splits.train)])
    model = restore_model(checkpoint) if checkpoint else new_model(cfg, datamodule, headers, cache)
    trainer = make_trainer(cfg)
    category, device = datamodule.dataset.category, trainer.strategy.root_device
    log.info("%s: %s, %s", category, model.description, device)
    with watch("extract"):
        rows, test_rows, batches = _extract(cfg, model, datamodule, cache, trainer)
    shifts, config = build(cfg.augmentation), detector_config(cfg)
    groups = None if checkpoint else named_groups(model, datamodule, rows)
    regions = counting_regions(model, datamodule, rows)
    module = FREModule(model, rows, shifts, config, cfg.false_alarm_rate, groups, regions)
    unmark(output_dir)
    with watch("fit"):
        if not checkpoint:
            fit(module, trainer)
            with replacing(output_dir / FILE_NAME) as temporary:
                trainer.save_checkpoint(temporary, weights_only=True)
    with watch("test"):
        if batches:
            trainer.test(module, progress(batches, "Scoring"), verbose=False)
    if batches:
        health["masks"] = batches.mask_flaws()
    if rows and test_rows:
        health["near_copies"] = find_twins(
            model, rows[-1], test_rows[-1], (splits.train, splits.test), module.scores, root
        )
        log_twins(health["near_copies"], int(module.labels.sum()))
    with watch("write"):
        write_results(cfg, output_dir, module, batches, root)
    summary = summarize(cfg, category, module, batches, health) | watch.seconds()
    write_json(output_dir / run_folder.METRICS, summary)
    if not quiet:
        print_metrics(summary, output_dir)
    illustrate(cfg, output_dir, module, batches, datamodule, summary)
    cache.log_size()
    return summary


def start(cfg: DictConfig) -> None:
    """Prepare the program for a run: its warnings, random numbers and threads."""
    start_run()
    seed_everything(cfg.seed)
    torch.set_num_threads(cfg.datamodule.n_threads or within_quota(torch.get_num_threads()))


def fit(module: FREModule, trainer: pl.Trainer) -> None:
    """Fit a module, with a trainer that has fitted no other."""
    steps: Sequence[Any] = module.fit_steps()
    # A closed form skips its only step, and would leave a bar empty. Lightning takes lists apart.
    has_epochs = any(last for _, _, last in steps)
    bar: Iterable[Any] = progress(steps, "Training") if has_epochs else steps
    trainer.fit(module, train_dataloaders=bar)


def new_model(
    cfg: DictConfig,
    datamodule: AnomalyDataModule,
    headers: Sequence[Header | None],
    cache: FeatureCache,
) -> FREModel:
    """An unfitted model, with the range of levels of the training images."""
    model, dataset = build_model(cfg), datamodule.dataset
    paths = [sample.path for sample in datamodule.splits.train]
    model.intensity = find_intensity(
        dataset.intensity,
        paths,
        headers[: len(paths)],
        dataset.files_root,
        datamodule.n_threads,
        cache.cache_dir,
    )
    return model


def _extract(
    cfg: DictConfig,
    model: FREModel,
    datamodule: AnomalyDataModule,
    cache: FeatureCache,
    trainer: pl.Trainer,
) -> tuple[list[CachedRows], list[CachedRows], FeatureBatches | None]:
    """Features of each layer, those of training unless the model is fitted; the test images."""
    rows = [] if model.is_fitted else load_features("train", model, datamodule, cache, trainer)
    if not datamodule.splits.test:
        return rows, [], None
    features = load_features("test", model, datamodule, cache, trainer)
    mask_size = None if cfg.metrics.size == "mask" else model.image_size
    return (
        rows,
        features,
        load_test_batches(features, datamodule, model.image_size, mask_size, cache),
    )


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


def _with_detector_of(cfg: DictConfig, checkpoint: Checkpoint) -> DictConfig:
    """The configuration with the detector's groups as they were when it was fitted."""
    cfg = cfg.copy()
    with open_dict(cfg):
        for group in DETECTOR_GROUPS:
            cfg[group] = checkpoint.config[group]
    log.info("The checkpoint decides on %s; they are not fitted again.", ", ".join(DETECTOR_GROUPS))
    return cfg


def _check_settings(cfg: DictConfig) -> None:
    """Refuse settings that would fail only after everything is computed."""
    check_rate(cfg.false_alarm_rate)
    check_aspect(cfg.aspect)
    size = cfg.metrics.size
    if size not in _METRIC_SIZES:
        msg = f"metrics.size={size} is unknown; choose one of {', '.join(_METRIC_SIZES)}."
        raise ConfigError(msg)
