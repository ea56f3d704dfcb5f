"""What a run leaves in its folder beside the model and `metrics.json`."""

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fre_lightning.experiment.batches import FeatureBatches
from fre_lightning.experiment.blind_spots import write_blind_spots
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.experiment.loggers import attach, hyperparameters
from fre_lightning.experiment.module import FREModule
from fre_lightning.experiment.pictures import draw_pictures
from fre_lightning.experiment.robustness import write_robustness
from fre_lightning.files import write_text
from fre_lightning.metrics.by_type import metrics_by_type
from fre_lightning.metrics.curves import AUPRO_LIMIT, count, curve_points
from fre_lightning.report import write_report
from fre_lightning.results import run_folder

log = logging.getLogger(__name__)


def write_results(
    cfg: DictConfig,
    folder: Path,
    module: FREModule,
    batches: FeatureBatches | None,
    root: Path,
) -> None:
    """Write what made the run, and the results of its test."""
    write_text(folder / run_folder.CONFIG, OmegaConf.to_yaml(cfg, resolve=True))
    run_folder.write_environment(folder)
    if batches:
        _write_scores(folder, module, batches, root)


def illustrate(
    cfg: DictConfig,
    folder: Path,
    module: FREModule,
    batches: FeatureBatches | None,
    datamodule: AnomalyDataModule,
    summary: dict[str, Any],
) -> None:
    """Draw what the configuration asks for, and write the report."""
    for name in (run_folder.BLIND_SPOTS, run_folder.BLIND_SPOTS_PICTURE, run_folder.ROBUSTNESS):
        (folder / name).unlink(missing_ok=True)  # an earlier run's
    if batches:
        draw_pictures(cfg, folder, module, batches.samples, datamodule, summary)
        model, samples, threshold = module.model, batches.samples, summary.get("threshold")
        if cfg.blind_spots:
            write_blind_spots(
                folder, model, samples, module.scores, threshold, datamodule.n_threads
            )
        if cfg.robustness:
            write_robustness(folder, model, samples, threshold, datamodule.n_threads)
    if cfg.report:
        write_report(folder / run_folder.REPORT, [folder])
        log.info("Report: %s", folder / run_folder.REPORT)
    attach(module.loggers, folder, hyperparameters(cfg, summary))


def _write_scores(folder: Path, module: FREModule, batches: FeatureBatches, root: Path) -> None:
    """Write the image scores of a test, the metrics of each defect type, and the curves."""
    types = [sample.defect_type for sample in batches.samples]
    pixel, kinds = module.pixel_metrics, module.pixel_metrics.total.kinds()
    run_folder.write_scores(folder, batches.samples, module.scores.tolist(), root)
    run_folder.write_defect_types(folder, metrics_by_type(module.scores, types, pixel.values))
    curves = {
        "image_roc": curve_points(*count(module.scores, module.labels)),
        "pixel_roc": curve_points(kinds.defects, kinds.good),
        "pixel_pro": curve_points(kinds.by_region, kinds.good, AUPRO_LIMIT),
    }
    defined = {name: points for name, points in curves.items() if points is not None}
    text = json.dumps(defined)  # indented, it is four times as long
    write_text(folder / run_folder.CURVES, text)
