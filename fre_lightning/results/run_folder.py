"""The files of a run: metrics, scores and the resolved configuration."""

import csv
import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fre_lightning.datasets import Sample
from fre_lightning.datasets.base import GOOD
from fre_lightning.errors import OutputError
from fre_lightning.files import replacing
from fre_lightning.metrics.bootstrap import bootstrap_interval
from fre_lightning.metrics.curves import auroc, count, merge_counts, roc_curve
from fre_lightning.version import __version__

CURVES_FILE = "curves.json"
ENVIRONMENT_FILE = "environment.json"
_MAX_CURVE_BINS = 300
_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core")
_PIXEL_METRICS = ("pixel_auroc", "pixel_aupro")  # of each defect type

METRIC_TITLES = {
    "image_auroc": "image\nAUROC",
    "image_aupr": "image\nAUPR",
    "image_f1_max": "image\nF1-max",
    "pixel_auroc": "pixel\nAUROC",
}


def make_output_dir(path: str) -> Path:
    """Make the folder that results go to, if it isn't there.

    Raises:
        OutputError: If it cannot be made.
    """
    output_dir = Path(path).expanduser()
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{output_dir} cannot be made ({error.strerror}). Choose another paths.output_dir."
        raise OutputError(msg) from error
    return output_dir


def write_metrics(path: Path, metrics: Mapping[str, object]) -> None:
    """Write flat keys as JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")


def write_scores(
    path: Path, samples: Sequence[Sample], scores: Sequence[float], root: Path
) -> None:
    """Write a CSV row per test image: path relative to the dataset, label, defect type, score."""
    with replacing(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "defect_type", "score"])
        for sample, score in zip(samples, scores, strict=True):
            name = relative_path(sample.path, root).as_posix()
            writer.writerow([name, sample.label, sample.defect_type, f"{score:.9g}"])


def write_defect_types(
    path: Path,
    samples: Sequence[Sample],
    scores: Tensor,
    pixel_metrics: Mapping[str, Mapping[str, float]],
) -> None:
    """Write a CSV row per defect type: how well its images are told from all good ones.

    Columns: defect type, its number of images, image AUROC and its 95 % bootstrap interval, pixel
    AUROC and AUPRO of its images and the good ones, where `pixel_metrics` has them.
    """
    by_type = dict.fromkeys(sample.defect_type for sample in samples if sample.label)
    with replacing(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["defect_type", "n_images", "image_auroc", "low", "high", *_PIXEL_METRICS])
        for defect_type in by_type:
            chosen = torch.tensor([s.defect_type in {defect_type, GOOD} for s in samples])
            labels = torch.tensor([s.label for s in samples])[chosen]
            _, positives, negatives = count(scores[chosen], labels)
            values = (
                float(auroc(positives, negatives)),
                *bootstrap_interval(scores[chosen], labels, auroc),
                *(pixel_metrics.get(defect_type, {}).get(n, math.nan) for n in _PIXEL_METRICS),
            )
            numbers = ("" if math.isnan(value) else f"{value:.6f}" for value in values)
            writer.writerow([defect_type, int(labels.sum()), *numbers])


def write_curves(
    path: Path, counts: Mapping[str, tuple[Tensor, Tensor]], limits: Mapping[str, float]
) -> None:
    """Write curves of a few hundred points, those that are defined.

    Args:
        path: The JSON file: by the curve's name, lists `x` (the false positive rate) and `y`.
        counts: By name, positives and negatives `(K,)` by ascending score.
        limits: By name, the false positive rate where a curve ends; others end at 1.
    """
    curves = {}
    for name, (positives, negatives) in counts.items():
        if positives.sum() > 0 and negatives.sum() > 0:
            rates = roc_curve(*merge_counts(positives, negatives, _MAX_CURVE_BINS))
            x, y = _cut(*rates, limits.get(name, 1.0))
            curves[name] = {"x": _rounded(x), "y": _rounded(y)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(curves) + "\n")


def _cut(x: Tensor, y: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """The part of an ascending curve `(K,)` up to x = `limit`, the end interpolated."""
    n_within = int((x <= limit).sum())
    if n_within == len(x):
        return x, y
    before, after = n_within - 1, n_within
    share = (limit - x[before]) / (x[after] - x[before])
    end = y[before] + share * (y[after] - y[before])
    return torch.cat([x[:n_within], x.new_tensor([limit])]), torch.cat([y[:n_within], end[None]])


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def write_environment(path: Path) -> None:
    """Write the versions of this program, of what it computes with, and of the system."""
    versions = {"fre_lightning": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(versions | {"platform": platform.platform()}, indent=2))


def write_config(path: Path, cfg: DictConfig) -> None:
    """Write the configuration with all interpolations resolved."""
    with replacing(path) as temporary:
        temporary.write_text(OmegaConf.to_yaml(cfg, resolve=True))


def relative_path(path: Path, root: Path) -> Path:
    """`path` within `root`, or its bare name if it lies elsewhere."""
    return path.relative_to(root) if path.is_relative_to(root) else Path(path.name)


def _with_interval(metrics: Mapping[str, object], name: str) -> str:
    """`0.985` and below it, if it is known, `[0.978, 0.991]`."""
    value, low, high = (metrics.get(f"{name}{end}") for end in ("", "_low", "_high"))
    return f"{value:.4f}" + (f"\n\\[{low:.3f}, {high:.3f}]" if low is not None else "")


def pixel_scope(metrics: Mapping[str, Any]) -> str:
    """At which size pixel metrics were computed, and over what."""
    size = metrics["pixel_metrics_size"]
    at = f"{size[0]}x{size[1]}" if isinstance(size, list) else "each mask's own size"
    return f"{at}, over all {metrics['n_test']} test images"


def print_metrics(metrics: Mapping[str, Any], output_dir: Path) -> None:
    """Print a run's table."""
    names = [name for name in METRIC_TITLES if name in metrics]
    weights = "random weights!" if "random" in str(metrics["weights"]) else metrics["weights"]
    table = Table(title=f"{metrics['category']}: {metrics['model']} ({weights})")
    for column in ("reducer", "n", *(METRIC_TITLES[name] for name in names), "seconds"):
        table.add_column(column, justify="left" if column == "reducer" else "right")
    values = (_with_interval(metrics, name) for name in names)
    seconds = f"{metrics['seconds_total']:.1f}"
    table.add_row(str(metrics["reducer"]), str(metrics["n_components"]), *values, seconds)
    if "pixel_auroc" in metrics:
        table.caption = f"pixel metrics at {pixel_scope(metrics)}"
    console = Console()
    console.print(table)
    console.print(f"Results in {output_dir}", style="dim", soft_wrap=True)
