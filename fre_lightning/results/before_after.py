"""A detector before and after it learnt from later parts: what each says of them."""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fre_lightning.datasets.listing import list_images_below
from fre_lightning.detector.checkpoint import FILE_NAME
from fre_lightning.detector.detector import Detector
from fre_lightning.detector.loading import load
from fre_lightning.errors import DatasetError, UnreadableImageError
from fre_lightning.files import remove_leftovers
from fre_lightning.results.run_folder import CONFIG

log = logging.getLogger(__name__)

_OUTLIER = 3.5  # modified z-score (Iglewicz and Hoaglin, 1993)


class Judgement(NamedTuple):
    """What a detector says of parts.

    Attributes:
        detector: The detector.
        good: `(N,)` scores of good parts; held-out ones if the detector has learnt from them.
        defective: `(M,)` scores of defective parts; None if there are none.
    """

    detector: Detector
    good: Tensor
    defective: Tensor | None = None


def load_detector(cfg: DictConfig) -> Detector:
    """The detector of `calibrate` or `update`, and the regions of the parts that it gets.

    Raises:
        FREError: As `load` does.
    """
    folders = [folder for folder in (cfg.good, cfg.get("defective")) if folder]
    # Images of both may have one name: regions then lie as their common folder's images do.
    root = os.path.commonpath([Path(folder).expanduser().absolute() for folder in folders])
    detector = load(
        cfg.checkpoint,
        device=cfg.device,
        false_alarm_rate=cfg.false_alarm_rate,
        n_threads=cfg.n_threads,
        roi=cfg.roi,
        roi_root=root,
    )
    log.info("%s, on %s", detector.description, detector.device)
    return detector


def find_images(key: str, folder: str) -> list[Path]:
    """The images in a folder and below.

    Raises:
        DatasetError: If there are none.
    """
    paths = list_images_below(Path(folder).expanduser())
    if not paths:
        msg = f"There is no image in {key}={folder}. Give a folder of images."
        raise DatasetError(msg)
    return paths


def score_all(detector: Detector, paths: Sequence[Path]) -> tuple[Tensor, list[float | None]]:
    """Scores `(N,)` and p-values of images.

    Raises:
        UnreadableImageError: If one of them cannot be decoded.
    """
    scores, p_values = [], []
    for outcome in detector.stream(paths, watches_drift=False):
        if outcome.result is None:
            raise outcome.error or UnreadableImageError
        scores.append(outcome.result.score)
        p_values.append(outcome.result.p_value)
    return torch.tensor(scores), p_values


def warn_of_odd(
    paths: Sequence[Path], scores: Tensor, p_values: Sequence[float | None]
) -> list[dict[str, Any]]:
    """Name the parts that score far above the others, which may be defective.

    Comparing them with each other tells them even if another day raised the scores of all.

    Returns:
        `path` and `p_value` of each.
    """
    logs = scores.double().clamp(min=torch.finfo(torch.float32).tiny).log()
    from_median = logs - logs.quantile(0.5)
    deviation = from_median.abs().quantile(0.5)
    is_odd = 0.6745 * from_median > _OUTLIER * deviation
    odd = [
        {"path": str(path), "p_value": p_value}
        for path, p_value, stands_out in zip(paths, p_values, is_odd.tolist(), strict=True)
        if stands_out
    ]
    for part in odd:
        p_value = "none" if part["p_value"] is None else f"{part['p_value']:.2g}"
        log.warning(
            "Is %s good? It scores far above the others (p-value %s).", part["path"], p_value
        )
    return odd


def describe(judgement: Judgement) -> dict[str, Any]:
    """Thresholds and counts in flat keys."""
    detector, good, defective = judgement
    values: dict[str, Any] = {
        "false_alarm_rate": detector.false_alarm_rate,
        "threshold": detector.threshold,
        "pixel_threshold": detector.pixel_threshold,
        "n_normal_scores": len(detector.normal_scores),
        "n_good": len(good),
        "n_good_stopped": _n_above(good, detector.threshold),
    }
    if defective is not None:
        n_found = _n_above(defective, detector.threshold)
        values["n_defective"] = len(defective)
        values["n_defective_missed"] = None if n_found is None else len(defective) - n_found
    return values


def compare(old: Judgement, new: Judgement) -> list[tuple[str, ...]]:
    """Rows of a table: what it is, before, after."""
    sides = [describe(judgement) for judgement in (old, new)]
    rows: list[tuple[str, ...]] = [
        ("image threshold", *(_text(side["threshold"]) for side in sides)),
        ("pixel threshold", *(_text(side["pixel_threshold"]) for side in sides)),
        ("good images behind them", *(str(side["n_normal_scores"]) for side in sides)),
        ("good parts stopped", *(_of(s["n_good_stopped"], s["n_good"]) for s in sides)),
    ]
    if new.defective is not None:
        missed = (_of(s["n_defective_missed"], s["n_defective"]) for s in sides)
        rows.append(("defective parts missed", *missed))
    return rows


def print_before_after(old: Judgement, new: Judgement) -> None:
    """Print both, side by side."""
    table = Table("", "before", "after", caption="good parts after: held-out scores")
    for row in compare(old, new):
        table.add_row(*row)
    Console().print(table)


def save_detector(detector: Detector, source: str, output_dir: Path) -> Path:
    """Write a checkpoint, and beside it the configuration of the run that it comes from.

    Raises:
        OutputError: If it cannot be written.
    """
    path = Path(source).expanduser()
    config = (path if path.is_dir() else path.parent) / CONFIG
    remove_leftovers(output_dir, deep=False)
    detector.save(output_dir / FILE_NAME)
    if config.is_file() and config.parent.resolve() != output_dir.resolve():
        shutil.copyfile(config, output_dir / CONFIG)
    return output_dir / FILE_NAME


def _n_above(scores: Tensor, threshold: float | None) -> int | None:
    return None if threshold is None else int((scores.double() > threshold).sum())


def _of(n: int | None, total: int) -> str:
    return "undecided" if n is None else f"{n} of {total}"


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
