"""One run from configuration to results: the order of its steps."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, open_dict
from pytorch_lightning.utilities.seed import isolate_rng

from fre_lightning.collective import from_first, rank
from fre_lightning.config import build
from fre_lightning.detector.builder import detector_config, restore_model
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
from fre_lightning.experiment.processes import join_processes, leave_processes
from fre_lightning.experiment.sizing import check_aspect, with_image_size
from fre_lightning.experiment.summary import Stopwatch, summarize
from fre_lightning.experiment.trainer import make_trainer, seed_everything
from fre_lightning.experiment.training_images import counting_regions, named_groups, new_model
from fre_lightning.experiment.twins import find_twins, log_twins
from fre_lightning.experiment.writing import illustrate, write_results
from fre_lightning.features.cache import CachedRows, FeatureCache
from fre_lightning.files import make_output_dir, replacing, write_json
from fre_lightning.images.header import Header, read_headers
from fre_lightning.images.health import examine, log_health
from fre_lightning.images.notices import start_run
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
        The content of `metrics.json`; nothing in the other processes of a divided run.

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
    if summary:
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
    """Do the work of `run` on a dataset that is listed; of several processes the first writes."""
    trainer = make_trainer(cfg, **join_processes(cfg))
    checkpoint = read_checkpoint(cfg.checkpoint) if cfg.checkpoint else None
    if checkpoint:
        cfg = _with_detector_of(cfg, checkpoint)
    splits, root = datamodule.splits, datamodule.dataset.files_root
    headers, health = from_first(lambda: _look_at(datamodule))
    cache: FeatureCache = build(cfg.cache)
    cfg = cfg if checkpoint else with_image_size(cfg, headers[: len(splits.train)])
    model = restore_model(checkpoint) if checkpoint else new_model(cfg, datamodule, headers, cache)
    category, device = datamodule.dataset.category, trainer.strategy.root_device
    log.info("%s: %s, %s", category, model.description, device)
    with watch("extract"):
        rows, test_rows, batches = _extract(cfg, model, datamodule, cache, trainer)
    shifts, config = build(cfg.augmentation), detector_config(cfg)
    groups = None if checkpoint else named_groups(model, datamodule, rows)
    regions = counting_regions(model, datamodule, rows)
    module = FREModule(model, rows, shifts, config, cfg.false_alarm_rate, groups, regions)
    _fit_and_test(module, trainer, batches, output_dir, watch)
    if not leave_processes():
        return {}
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


def _fit_and_test(
    module: FREModule,
    trainer: pl.Trainer,
    batches: FeatureBatches | None,
    output_dir: Path,
    watch: Stopwatch,
) -> None:
    """Fit a module unless it comes from a checkpoint, store it, and test it on batches."""
    unmark(output_dir)
    with watch("fit"):
        if not module.model.is_fitted:
            fit(module, trainer)
            if rank() == 0:
                with replacing(output_dir / FILE_NAME) as temporary:
                    trainer.save_checkpoint(temporary, weights_only=True)
    with watch("test"):
        if batches:
            trainer.test(module, progress(batches, "Scoring"), verbose=False)


def _look_at(datamodule: AnomalyDataModule) -> tuple[list[Header | None], dict[str, Any]]:
    """The headers of training and test images, and what is amiss with them, which the log tells."""
    splits = datamodule.splits
    paths = [sample.path for sample in (*splits.train, *splits.test)]
    headers = read_headers(paths, datamodule.n_threads)
    health = examine(splits, headers, datamodule.dataset.files_root)
    log_health(health)
    return headers, health


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
