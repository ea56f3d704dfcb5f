"""What runs stored, read back."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import OmegaConf

from fre_lightning.errors import ReportError
from fre_lightning.results import run_folder

GROUPS = ("model", "reducer", "dataset", "scoring")
"""The configuration groups whose choices tell runs apart."""

_CATEGORY = "dataset.category"
_RESULTS = (run_folder.METRICS, run_folder.ERROR)


class ScoredImage(NamedTuple):
    """A row of `scores.csv`."""

    path: str
    label: int
    defect_type: str
    score: float


class DefectType(NamedTuple):
    """A row of `defect_types.csv`.

    Attributes:
        name: The defect type.
        n_images: The number of its images.
        metrics: By name; those that are not defined are left out.
    """

    name: str
    n_images: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class StoredRun:
    """A run as its folder tells it.

    Attributes:
        folder: Where it is.
        category: Of the dataset.
        settings: What tells runs apart: choices of groups and other overrides.
        metrics: Of `metrics.json`; empty if the run failed.
        images: The test images, as in `scores.csv`.
        defect_types: How well each is found.
        curves: Lists of rates by name, for each of `image_roc`, `pixel_roc` and `pixel_pro`.
        config: The resolved configuration.
        environment: Versions by name.
        error: Why the run failed.
    """

    folder: Path
    category: str
    settings: Mapping[str, str]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[ScoredImage] = ()
    defect_types: Sequence[DefectType] = ()
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def threshold(self) -> float | None:
        """The score above which an image is called defective."""
        return self.metrics.get("threshold")

    def scores(self, label: int) -> list[float]:
        """Scores of the good (0) or the defective (1) test images."""
        return [image.score for image in self.images if image.label == label]


def find_runs(folder: Path) -> list[Path]:
    """The run in a folder, or the runs in the folder of a sweep, failed ones among them.

    Raises:
        ReportError: If there is none.
    """
    if _is_run(folder):
        return [folder]
    found = {
        path.parent
        for name in (run_folder.METRICS, run_folder.ERROR)
        for path in folder.rglob(name)
    }
    if not found:
        msg = (
            f"There is no run in {folder.absolute()}. Give the folder of a run, which holds "
            f"{run_folder.METRICS}, or that of a sweep."
        )
        raise ReportError(msg)
    return sorted(found, key=lambda path: _natural(path.relative_to(folder).as_posix()))


def read_run(folder: Path) -> StoredRun:
    """Read what a run stored. Files that an older run lacks count as empty.

    Raises:
        ReportError: If a file cannot be read as what it should be.
    """
    failure = _read_json(folder / run_folder.ERROR)
    if failure:
        settings = _read_settings(folder, {})
        return StoredRun(folder, str(failure["category"]), settings, error=str(failure["error"]))
    metrics = _read_json(folder / run_folder.METRICS)
    is_tested = bool(metrics.get("n_test"))  # else older files of that name are another run's
    try:
        return StoredRun(
            folder,
            str(metrics["category"]),
            _read_settings(folder, metrics),
            metrics,
            _read_scores(folder / run_folder.SCORES) if is_tested else (),
            _read_defect_types(folder / run_folder.DEFECT_TYPES) if is_tested else (),
            _read_json(folder / run_folder.CURVES) if is_tested else {},
            _read_yaml(folder / run_folder.CONFIG),
            _read_json(folder / run_folder.ENVIRONMENT),
        )
    except (KeyError, ValueError, csv.Error) as error:
        msg = f"The files of the run in {folder} are damaged ({type(error).__name__}: {error})."
        raise ReportError(msg) from error


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _RESULTS)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts 10 after 9."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        msg = f"{path} is damaged ({error}). Run again, or leave this run out."
        raise ReportError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} is damaged: it holds no object. Run again, or leave this run out."
        raise ReportError(msg)
    return content


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text()) if path.is_file() else {}
    except yaml.YAMLError as error:
        msg = f"{path} is damaged ({error}). Run again, or leave this run out."
        raise ReportError(msg) from error
    return content if isinstance(content, dict) else {}


def _read_scores(path: Path) -> list[ScoredImage]:
    return [
        ScoredImage(row["path"], int(row["label"]), row["defect_type"], float(row["score"]))
        for row in _read_csv(path)
    ]


def _read_defect_types(path: Path) -> list[DefectType]:
    ends = {"low": "image_auroc_low", "high": "image_auroc_high"}
    return [
        DefectType(
            row.pop("defect_type"),
            int(row.pop("n_images")),
            {ends.get(name, name): float(value) for name, value in row.items() if value},
        )
        for row in _read_csv(path)
    ]


def _read_csv(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _read_settings(folder: Path, metrics: Mapping[str, Any]) -> dict[str, str]:
    """Choices of groups and other overrides; what the metrics name was really used."""
    settings = {}
    path = folder / ".hydra/hydra.yaml"
    if path.is_file():
        hydra = OmegaConf.load(path).hydra
        choices = hydra.runtime.choices
        settings = {group: str(choices[group]) for group in GROUPS if choices.get(group)}
        for override in hydra.overrides.task:
            key, _, value = override.partition("=")
            settings[key.lstrip("+~")] = value
    settings |= {group: str(metrics[group]) for group in GROUPS if group in metrics}
    return {key: value for key, value in settings.items() if key != _CATEGORY}
