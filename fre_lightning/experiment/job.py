"""One run from configuration to results. The one place that knows the order of things."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, open_dict
from pytorch_lightning.loggers import TensorBoardLogger

from fre_lightning.config import build
from fre_lightning.detector.builder import build_module, make_trainer
from fre_lightning.detector.checkpoint import (
    DETECTOR_GROUPS,
    FILE_NAME,
    Checkpoint,
    read_checkpoint,
)
from fre_lightning.errors import ConfigError
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.experiment.extraction import load_features, load_masks
from fre_lightning.experiment.module import FREModule
from fre_lightning.features.cache import FeatureCache
from fre_lightning.pictures.panels import PanelArtist, write_heatmaps
from fre_lightning.pictures.thumbnails import clear_thumbnails, write_thumbnails
from fre_lightning.report import write_report
from fre_lightning.report.gallery import gallery_order
from fre_lightning.report.sections import REPORT_FILE
from fre_lightning.results import run_folder as artifacts
from fre_lightning.results import tensorboard
from fre_lightning.scoring.threshold import check_rate, decision_metrics, n_images_needed

log = logging.getLogger(__name__)

METRIC_SIZES = ("image", "mask")

# Lightning says these to programs that train networks; here they are as intended.
for _message in (
    ".*configure_optimizers` returned `None`",
    "Couldn't infer the batch indices",
    "Found .* module.* in eval mode",
    ".*isinstance.treespec, LeafSpec.* is deprecated",
    "The ``compute`` method of metric PixelMetrics was called before",
    ".*does not have many workers",
):
    warnings.filterwarnings("ignore", message=_message)
# Advice on devices and services; its import sets the level, so a YAML cannot.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Extract features, fit, test, write.

    Args:
        cfg: As composed from `configs/`. Outside Hydra's own runs, set `paths.output_dir`.

    Returns:
        What `metrics.json` holds.

    Raises:
        FREError: For anything that the user can mend.
    """
    _check_settings(cfg)
    watch = Stopwatch()
    pl.seed_everything(cfg.seed, verbose=False)
    if cfg.datamodule.n_threads:
        torch.set_num_threads(cfg.datamodule.n_threads)
    checkpoint = read_checkpoint(cfg.ckpt_path) if cfg.ckpt_path else None
    if checkpoint:
        cfg = _with_detector_of(cfg, checkpoint)
    output_dir = artifacts.make_output_dir(cfg.paths.output_dir)
    datamodule: AnomalyDataModule = build(cfg.datamodule, dataset=build(cfg.dataset))
    datamodule.setup()
    module = build_module(cfg, checkpoint)
    module.false_alarm_rate = cfg.false_alarm_rate
    module.shifts = build(cfg.augmentation)
    trainer = make_trainer(cfg)
    log.info(
        "%s: %s, %s", datamodule.dataset.category, module.description, trainer.strategy.root_device
    )
    with watch("extract"):
        cache = FeatureCache(cfg.paths.cache_dir)
        attach_features(cache, trainer, module, datamodule, cfg.metrics.size)
    with watch("fit"):
        if not checkpoint:
            trainer.fit(module, train_dataloaders=module.fit_steps())
            trainer.save_checkpoint(output_dir / FILE_NAME, weights_only=True)
    with watch("test"):
        if datamodule.splits.test:
            trainer.test(module, datamodule=datamodule, verbose=False)
    with watch("write"):
        artifacts.write_config(output_dir / "config.yaml", cfg)
        artifacts.write_environment(output_dir / artifacts.ENVIRONMENT_FILE)
        if datamodule.splits.test:
            write_scores(output_dir, module, datamodule)
    summary = summarize(cfg, module, datamodule) | watch.seconds()
    artifacts.write_metrics(output_dir / "metrics.json", summary)
    artifacts.print_metrics(summary, output_dir)
    if datamodule.splits.test:
        draw_pictures(cfg, output_dir, trainer, module, datamodule, summary)
    if cfg.report:
        write_report(output_dir / REPORT_FILE, [output_dir])
        log.info("Report: %s", output_dir / REPORT_FILE)
    return summary


def summarize(cfg: DictConfig, module: FREModule, datamodule: AnomalyDataModule) -> dict[str, Any]:
    """The run in flat keys: what was run on what, and the metrics."""
    backbone = module.backbone
    ranks = [reducer.n_components for reducer in module.reducers]
    return {
        "category": datamodule.dataset.category,
        "model": backbone.name,
        "layers": "+".join(backbone.layers),
        "weights": backbone.weights_label,
        "image_size": list(module.image_size),
        "pixel_metrics_size": list(module.image_size) if cfg.metrics.size == "image" else "mask",
        "reducer": module.reducers[0].name,
        "scoring": module.scoring.name,
        "n_components": sum(ranks),
        **({"n_components_each": ranks} if len(ranks) > 1 else {}),
        "n_train": module.n_train,
        "n_test": len(datamodule.test_samples) if datamodule.splits.test else 0,
        "seed": cfg.seed,
        "tags": list(cfg.tags),
        **module.metrics,
        **_decisions(cfg.false_alarm_rate, module),
    }


def _decisions(rate: float, module: FREModule) -> dict[str, Any]:
    """The thresholds for a false-alarm rate, and how the test images fare at it."""
    threshold = module.calibration.image_threshold(rate)
    pixel_threshold = module.calibration.pixel_threshold(rate)
    if threshold is None or pixel_threshold is None:
        return {}
    if threshold.is_extrapolated:
        log.warning(
            "A false-alarm rate of %g takes %d training images to observe and there are %d: the "
            "threshold is extrapolated.",
            rate,
            n_images_needed(rate),
            module.n_train,
        )
    values = {"threshold": threshold.value, "pixel_threshold": pixel_threshold.value}
    if not module.scores:
        return values
    labels = torch.cat(module.image_metrics.labels).cpu()
    return values | decision_metrics(torch.cat(module.scores), labels, threshold.value)


def write_scores(output_dir: Path, module: FREModule, datamodule: AnomalyDataModule) -> None:
    """Write the image scores of a test, how well each defect type is found, and the curves."""
    samples, root = datamodule.test_samples, datamodule.dataset.files_root
    scores = torch.cat(module.scores)
    artifacts.write_scores(output_dir / "scores.csv", samples, scores.tolist(), root)
    artifacts.write_defect_types(
        output_dir / "defect_types.csv", samples, scores, module.pixel_metrics.values
    )
    counts = {
        "image_roc": module.image_metrics.counts()[1:],
        "pixel_roc": module.pixel_metrics.total.counts()[1:],
        "pixel_pro": module.pixel_metrics.total.region_counts(),
    }
    limits = {"pixel_pro": module.pixel_metrics.total.fpr_limit}
    artifacts.write_curves(output_dir / artifacts.CURVES_FILE, counts, limits)


def draw_pictures(
    cfg: DictConfig,
    output_dir: Path,
    trainer: pl.Trainer,
    module: FREModule,
    datamodule: AnomalyDataModule,
    summary: dict[str, Any],
) -> None:
    """Draw what TensorBoard shows of a test, heat maps and thumbnails, those that are asked for."""
    samples, root = datamodule.test_samples, datamodule.dataset.files_root
    n_threads, scores = datamodule.n_threads, torch.cat(module.scores)
    artist = PanelArtist(
        torch.cat(module.error_maps),
        partial(
            module.scoring.anomaly_map, tile_size=module.backbone.image_size, tiling=module.tiling
        ),
        module.image_size,
    )
    metrics = (("image", module.image_metrics), ("pixel", module.pixel_metrics.total))
    counts = {name: metric.counts()[1:] for name, metric in metrics}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            parameters = _hyperparameters(cfg, summary)
            tensorboard.log_hyperparameters(logger, parameters, module.metrics)
            tensorboard.log_curves(logger, counts)
            tensorboard.log_panels(logger, samples, scores, artist, n_threads)
            logger.finalize("success")
    if cfg.heatmaps:
        write_heatmaps(output_dir / "heatmaps", samples, root, artist, n_threads)
    clear_thumbnails(output_dir)
    if cfg.report:
        labels = [sample.label for sample in samples]
        order = gallery_order(labels, scores.tolist(), summary.get("threshold"))
        write_thumbnails(output_dir, samples, order, artist, n_threads)


def _hyperparameters(cfg: DictConfig, summary: dict[str, Any]) -> dict[str, Any]:
    """The settings that a run may be compared by: scalars, for the HParams tab."""
    reducer = {f"reducer/{k}": v for k, v in cfg.reducer.items() if k != "_target_"}
    described = {k: v for k, v in summary.items() if isinstance(v, str | int) or k == "image_size"}
    return described | reducer


def attach_features(
    cache: FeatureCache,
    trainer: pl.Trainer,
    module: FREModule,
    datamodule: AnomalyDataModule,
    metrics_size: str,
) -> None:
    """Give the module its training features, unless it is fitted, and the datamodule its own."""
    if not module.reducers[0].n_components:
        module.attach(load_features("train", module, datamodule, cache, trainer))
    if datamodule.splits.test:
        datamodule.attach(load_features("test", module, datamodule, cache, trainer))
        if metrics_size == "mask":
            datamodule.read_masks()
        else:
            datamodule.attach_masks(load_masks(datamodule, module.image_size, cache))


def _with_detector_of(cfg: DictConfig, checkpoint: Checkpoint) -> DictConfig:
    """The configuration with the detector's groups as they were when it was fitted."""
    cfg = cfg.copy()
    with open_dict(cfg):
        for group in DETECTOR_GROUPS:
            cfg[group] = checkpoint.config[group]
    log.info("The checkpoint decides on %s; they are not fitted again.", ", ".join(DETECTOR_GROUPS))
    return cfg


def _check_settings(cfg: DictConfig) -> None:
    """Refuse what would be noticed only after everything is computed."""
    check_rate(cfg.false_alarm_rate)
    if cfg.metrics.size not in METRIC_SIZES:
        msg = (
            f"metrics.size={cfg.metrics.size} is unknown; choose one of {', '.join(METRIC_SIZES)}."
        )
        raise ConfigError(msg)


class Stopwatch:
    """Seconds per stage of a run."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the body."""
        start = time.perf_counter()
        yield
        self._stages[stage] = time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        """`seconds_<stage>` of each stage, and `seconds_total` since the start."""
        total = {"total": time.perf_counter() - self._start}
        return {f"seconds_{stage}": round(s, 3) for stage, s in (self._stages | total).items()}
