"""The summary of a run in flat keys: settings, data, metrics and times."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig

from fre_lightning.experiment.batches import FeatureBatches
from fre_lightning.experiment.module import FREModule
from fre_lightning.images.notices import n_outside
from fre_lightning.scoring.threshold import decision_metrics


def summarize(
    cfg: DictConfig,
    category: str,
    module: FREModule,
    batches: FeatureBatches | None,
    health: Mapping[str, Any],
) -> dict[str, Any]:
    """Summarize a run; `batches` is None if there are no test images, `health` is the dataset's."""
    model, backbone = module.model, module.model.backbone
    ranks = [reducer.n_components for reducer in model.reducers]
    return {
        "category": category,
        "model": backbone.name,
        "layers": "+".join(backbone.layers),
        "weights": backbone.weights_label,
        "image_size": list(model.image_size),
        "pixel_metrics_size": list(model.image_size) if cfg.metrics.size == "image" else "mask",
        "reducer": model.reducers[0].name,
        "scoring": model.scoring.name,
        "n_components": sum(ranks),
        **({"n_components_each": ranks} if len(ranks) > 1 else {}),
        **({"intensity": model.intensity._asdict()} if model.intensity else {}),
        **({"n_outside_intensity": n_outside()} if n_outside() else {}),
        **({} if model.region is None else {"region_share": float(model.region.float().mean())}),
        "n_train": model.n_train,
        **({"n_groups": model.calibration.n_groups} if model.calibration.n_groups else {}),
        "n_test": len(batches.samples) if batches else 0,
        "seed": cfg.seed,
        "tags": list(cfg.tags),
        **module.metrics,
        **_decisions(cfg.false_alarm_rate, module),
        "dataset_health": health,
    }


def _decisions(rate: float, module: FREModule) -> dict[str, Any]:
    """The thresholds for a false-alarm rate, and the metrics of decisions by them."""
    thresholds = module.model.calibration.thresholds(rate)
    if thresholds is None:
        return {}
    values = {"threshold": thresholds.image, "pixel_threshold": thresholds.pixel}
    if len(module.scores):
        values |= decision_metrics(module.scores, module.labels, thresholds.image)
    return values


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
