"""What is exported: a detector of defects, or a classifier with the method that decides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from fre_lightning.detector.builder import restore_model
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.detector.model import FREModel
from fre_lightning.ood.deciding import Deciding
from fre_lightning.ood.loading import OF_CLASSIFIERS, check_task, restore_ood
from fre_lightning.scoring.threshold import check_rate, find_threshold, n_images_needed


class Subject(NamedTuple):
    """A fitted model to export.

    Attributes:
        model: On the CPU; gives scores `(N,)`, and anomaly maps or logits.
        about: What programs need to know of it, in plain containers; its `outputs` are by name.
        other: What it gives beside scores, `map` or `logits`.
        unit: Differences of scores are relative to no less than this.
    """

    model: FREModel | Deciding
    about: Mapping[str, Any]
    other: str
    unit: float


def load_subject(cfg: DictConfig) -> Subject:
    """Load what a checkpoint holds.

    Args:
        cfg: Its `checkpoint`, `false_alarm_rate`, `method` and `program`.

    Raises:
        FREError: If it cannot be loaded, or a setting does not suit it.
    """
    if cfg.false_alarm_rate is not None:
        check_rate(cfg.false_alarm_rate)
    path = Path(cfg.checkpoint).expanduser()
    given = [key for key in OF_CLASSIFIERS if cfg[key] is not None]
    return (_classifier if check_task(path, given) else _detector)(path, cfg)


def _detector(path: Path, cfg: DictConfig) -> Subject:
    checkpoint = read_checkpoint(path)
    rate = checkpoint.false_alarm_rate if cfg.false_alarm_rate is None else cfg.false_alarm_rate
    model = restore_model(checkpoint)
    thresholds = model.calibration.thresholds(rate)
    about = {
        "outputs": {
            "score": {"shape": ["N"], "dtype": "float32"},
            "anomaly_map": {"shape": ["N", *model.image_size], "dtype": "float32"},
        },
        "threshold": thresholds and thresholds.image,
        "pixel_threshold": thresholds and thresholds.pixel,
        "false_alarm_rate": rate,
        "calibration_scores": [round(float(s), 6) for s in model.calibration.image_scores.cpu()],
        "model": model.backbone.name,
        "weights": model.backbone.weights_label,
        "reducer": model.reducers[0].name,
        "n_components": sum(reducer.n_components for reducer in model.reducers),
        "scoring": model.scoring.name,
        "n_train": model.n_train,
    }
    return Subject(model, about, "map", 0.0)


def _classifier(path: Path, cfg: DictConfig) -> Subject:
    restored, facts = restore_ood(path, cfg.program)
    rate = facts["false_alarm_rate"] if cfg.false_alarm_rate is None else cfg.false_alarm_rate
    method, classes = cfg.method or facts["decide_by"], facts["logits"]
    model, index = Deciding(restored, method), restored.index_of(method)
    known = restored.held_out_scores
    calibrations = [restored.calibration_scores(index, i, rate) for i in range(len(classes))]
    needed = n_images_needed(rate)
    about = {
        "outputs": {
            "score": {"shape": ["N"], "dtype": "float32"},
            "logits": {"shape": ["N", len(classes)], "dtype": "float32"},
        },
        "classes": classes,
        "thresholds": [
            find_threshold(scores, rate) if len(scores) >= max(needed, 1) else None
            for scores in calibrations
        ],
        "false_alarm_rate": rate,
        "method": method,
        "model": restored.backbone.name,
        "weights": restored.backbone.weights_label,
    }
    return Subject(model, about, "logits", float(known[:, index].std()) if len(known) > 1 else 0.0)
