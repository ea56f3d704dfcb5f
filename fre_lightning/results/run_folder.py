"""The files of a run's folder: their names, and functions that write them."""

import csv
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fre_lightning.datasets import Sample
from fre_lightning.files import open_text, relative_path, replacing, write_json
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
BLIND_SPOTS = "blind_spots.json"
BLIND_SPOTS_PICTURE = "blind_spots.webp"
ROBUSTNESS = "robustness.json"
HEATMAPS = "heatmaps"
THUMBNAILS = "thumbnails"

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core")


def write_scores(
    folder: Path, samples: Sequence[Sample], scores: Sequence[float], root: Path
) -> None:
    """Write a CSV row per test image: path relative to the dataset, label, defect type, score."""
    rows = [
        (relative_path(s.path, root).as_posix(), str(s.label), s.defect_type, f"{score:.9g}")
        for s, score in zip(samples, scores, strict=True)
    ]
    write_csv(folder / SCORES, ("path", "label", "defect_type", "score"), rows)


def write_defect_types(folder: Path, rows: Sequence[Mapping[str, str | float]]) -> None:
    """Write a CSV row per defect type, as `metrics_by_type` gives them; undefined is empty."""
    texts = [[_to_text(value) for value in row.values()] for row in rows]
    write_csv(folder / DEFECT_TYPES, list(rows[0]) if rows else ["defect_type"], texts)


def write_environment(folder: Path) -> None:
    """Write the versions of this program, of its libraries, and of the system."""
    versions = {"fre_lightning": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    write_json(folder / ENVIRONMENT, versions | {"platform": platform.platform()})


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table of text."""
    with replacing(path) as temporary, open_text(temporary, "w") as stream:
        csv.writer(stream).writerows([header, *rows])


def _to_text(value: str | float) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:.6f}"
