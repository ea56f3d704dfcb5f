"""The results of a run, read from its folder."""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import yaml

from fre_lightning.errors import ReportError
from fre_lightning.files import open_text
from fre_lightning.images.intensity import Intensity
from fre_lightning.results import run_folder

GROUPS = ("model", "reducer", "dataset", "scoring")
"""The configuration groups whose choices tell runs apart."""

_RESULTS = (run_folder.METRICS, run_folder.ERROR)
_NO_RUN = (
    "There is no run in {}. Give the folder of a run, which holds "
    f"{run_folder.METRICS}, or that of a sweep."
)


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
        metrics: The defined metrics by name.
    """

    name: str
    n_images: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class StoredRun:
    """The results of a run.

    Attributes:
        folder: The run's folder.
        category: The dataset's.
        settings: Choices of groups and other overrides, which tell runs apart.
        metrics: The content of `metrics.json`; empty if the run failed.
        images: The test images, as in `scores.csv`.
        defect_types: The metrics of each defect type.
        curves: Lists of rates by name, for each of `image_roc`, `pixel_roc` and `pixel_pro`.
        blind_spots: As `experiment.blind_spots` writes them; empty if they were not measured.
        robustness: As `experiment.robustness` writes it; empty if it was not measured.
        config: The resolved configuration.
        environment: Versions by name.
        error: Why the run failed; None if it did not.
    """

    folder: Path
    category: str
    settings: Mapping[str, str]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[ScoredImage] = ()
    defect_types: Sequence[DefectType] = ()
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    blind_spots: Mapping[str, Any] = field(default_factory=dict)
    robustness: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def threshold(self) -> float | None:
        """The score above which an image is called defective."""
        return self.metrics.get("threshold")

    @property
    def intensity(self) -> Intensity | None:
        """The range of levels of the training images."""
        return Intensity.from_dict(self.metrics.get("intensity"))

    def scores(self, label: int) -> list[float]:
        """Scores of the good (0) or the defective (1) test images."""
        return [image.score for image in self.images if image.label == label]


def find_runs(folder: Path) -> list[Path]:
    """The run in a folder, or all runs in a sweep's folder, failed ones included.

    Raises:
        ReportError: If there is none.
    """
    if any((folder / name).is_file() for name in _RESULTS):
        return [folder]
    found = {path.parent for name in _RESULTS for path in folder.rglob(name)}
    if not found:
        raise ReportError(_NO_RUN.format(folder.absolute()))
    return sorted(found, key=lambda path: _natural(path.relative_to(folder).as_posix()))


def read_run(folder: Path) -> StoredRun:
    """Read the files of a run. Files that an older run lacks count as empty.

    Raises:
        ReportError: If there is no run, or a file is damaged.
    """
    settings = _read(folder / ".hydra/hydra.yaml", _parse_settings)
    settings.pop("dataset.category", None)
    failure = _read(folder / run_folder.ERROR, _parse_results)
    if failure:
        return StoredRun(folder, failure["category"], settings, error=str(failure["error"]))
    metrics = _read(folder / run_folder.METRICS, _parse_results)
    if not metrics:
        raise ReportError(_NO_RUN.format(folder))
    # The metrics name the groups that were really used.
    settings |= {group: str(metrics[group]) for group in GROUPS if group in metrics}
    is_tested = bool(metrics.get("n_test"))  # else older files of that name are another run's
    return StoredRun(
        folder,
        metrics["category"],
        settings,
        metrics,
        _read(folder / run_folder.SCORES, _parse_scores) if is_tested else (),
        _read(folder / run_folder.DEFECT_TYPES, _parse_defect_types) if is_tested else (),
        _read(folder / run_folder.CURVES, _parse_json) if is_tested else {},
        _read(folder / run_folder.BLIND_SPOTS, _parse_json) if is_tested else {},
        _read(folder / run_folder.ROBUSTNESS, _parse_json) if is_tested else {},
        _read(folder / run_folder.CONFIG, lambda stream: dict(yaml.safe_load(stream) or {})),
        _read(folder / run_folder.ENVIRONMENT, _parse_json),
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts 10 after 9."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _read(path: Path, parse: Callable[[TextIO], Any]) -> Any:
    """The content of a file; empty if there is none."""
    if not path.is_file():
        return {}
    try:
        with open_text(path) as stream:
            return parse(stream)
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error, yaml.YAMLError) as error:
        reason = f"{type(error).__name__}: {error}"
        msg = f"{path} is damaged ({reason}). Run again, or leave this run out."
        raise ReportError(msg) from error


def _parse_json(stream: TextIO) -> dict[str, Any]:
    return dict(json.load(stream))


def _parse_results(stream: TextIO) -> dict[str, Any]:
    content = _parse_json(stream)
    return content | {"category": str(content["category"])}


def _parse_scores(stream: TextIO) -> list[ScoredImage]:
    return [
        ScoredImage(row["path"], int(row["label"]), row["defect_type"], float(row["score"]))
        for row in csv.DictReader(stream)
    ]


def _parse_defect_types(stream: TextIO) -> list[DefectType]:
    ends = {"low": "image_auroc_low", "high": "image_auroc_high"}
    return [
        DefectType(
            row.pop("defect_type"),
            int(row.pop("n_images")),
            {ends.get(name, name): float(value) for name, value in row.items() if value},
        )
        for row in csv.DictReader(stream)
    ]


def _parse_settings(stream: TextIO) -> dict[str, str]:
    """Choices of groups, and other overrides."""
    hydra = yaml.safe_load(stream)["hydra"]
    choices = hydra["runtime"]["choices"]
    settings = {group: str(choices[group]) for group in GROUPS if choices.get(group)}
    for override in hydra["overrides"]["task"]:
        key, _, value = override.partition("=")
        settings[key.lstrip("+~")] = value
    return settings
