"""The files of a run's folder: their names, and how they are written."""

import csv
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fre_lightning.datasets import Sample
from fre_lightning.files import relative_path, replacing, write_json, write_text
from fre_lightning.version import __version__

METRICS = "metrics.json"
SCORES = "scores.csv"
DEFECT_TYPES = "defect_types.csv"
CURVES = "curves.json"
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
REPORT = "report.html"
ERROR = "error.json"
"""Of a failed run: its category and its error."""
HEATMAPS = "heatmaps"
THUMBNAILS = "thumbnails"

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core")


def write_scores(
    folder: Path, samples: Sequence[Sample], scores: Sequence[float], root: Path
) -> None:
    """Write a CSV row per test image: path relative to the dataset, label, defect type, score."""
    rows = [
        {
            "path": relative_path(sample.path, root).as_posix(),
            "label": sample.label,
            "defect_type": sample.defect_type,
            "score": f"{score:.9g}",
        }
        for sample, score in zip(samples, scores, strict=True)
    ]
    _write_csv(folder / SCORES, ["path", "label", "defect_type", "score"], rows)


def write_defect_types(folder: Path, rows: Sequence[Mapping[str, str | float]]) -> None:
    """Write a CSV row per defect type, as `metrics_by_type` gives them; undefined is empty."""
    texts = [{column: _number(value) for column, value in row.items()} for row in rows]
    _write_csv(folder / DEFECT_TYPES, list(rows[0]) if rows else ["defect_type"], texts)


def write_environment(folder: Path) -> None:
    """Write the versions of this program, of what it computes with, and of the system."""
    versions = {"fre_lightning": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    write_json(folder / ENVIRONMENT, versions | {"platform": platform.platform()})


def write_config(folder: Path, cfg: DictConfig) -> None:
    """Write the configuration with all interpolations resolved."""
    write_text(folder / CONFIG, OmegaConf.to_yaml(cfg, resolve=True))


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _number(value: str | float) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:.6f}"
