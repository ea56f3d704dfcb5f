"""Pictures of a test: in TensorBoard, as heat maps, as thumbnails of the report."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.loggers import TensorBoardLogger

from fre_lightning.datasets import Sample
from fre_lightning.experiment import tensorboard
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.experiment.loggers import hyperparameters
from fre_lightning.experiment.module import FREModule
from fre_lightning.metrics.curves import count
from fre_lightning.pictures.panels import PanelArtist, write_heatmaps
from fre_lightning.pictures.thumbnails import gallery_order, write_thumbnails
from fre_lightning.results import run_folder


def draw_pictures(
    cfg: DictConfig,
    output_dir: Path,
    module: FREModule,
    samples: Sequence[Sample],
    datamodule: AnomalyDataModule,
    summary: dict[str, Any],
) -> None:
    """Draw a test in TensorBoard, as heat maps and as thumbnails, as the configuration says."""
    scores, model, n_threads = module.scores, module.model, datamodule.n_threads
    to_maps, region = model.anomaly_maps_of, None if model.region is None else model.region.cpu()
    threshold = summary.get("pixel_threshold")
    artist = PanelArtist(
        samples,
        module.error_maps,
        to_maps,
        region,
        model.image_size,
        model.intensity,
        n_threads,
        threshold,
    )
    pixels = module.pixel_metrics.total.kinds()
    counts = {"image": count(scores, module.labels), "pixel": (pixels.defects, pixels.good)}
    for logger in module.loggers:
        if isinstance(logger, TensorBoardLogger):
            # Once and with the final metrics: only so has the HParams tab columns.
            final = {f"final/{name}": value for name, value in module.metrics.items()}
            logger.log_hyperparams(hyperparameters(cfg, summary), final)
            tensorboard.log_curves(logger, counts)
            tensorboard.log_panels(logger, scores, artist)
            logger.finalize("success")
    if cfg.heatmaps:
        write_heatmaps(output_dir / run_folder.HEATMAPS, datamodule.dataset.files_root, artist)
    thumbnails = output_dir / run_folder.THUMBNAILS
    shutil.rmtree(thumbnails, ignore_errors=True)  # an earlier run's are known by number, too
    if cfg.report:
        labels = module.labels.tolist()
        order = gallery_order(labels, scores.tolist(), summary.get("threshold"))
        write_thumbnails(thumbnails, order, artist)
