"""The files of a run: metrics, scores and the resolved configuration."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fre_lightning.atomic import replacing
from fre_lightning.bootstrap import bootstrap_interval
from fre_lightning.curves import auroc, count
from fre_lightning.datasets import Sample
from fre_lightning.datasets.base import GOOD
from fre_lightning.errors import OutputError

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
    output_dir = Path(path)
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


def write_defect_types(path: Path, samples: Sequence[Sample], scores: Tensor) -> None:
    """Write a CSV row per defect type: how well its images are told from all good ones.

    Columns: defect type, its number of images, image AUROC and its 95 % bootstrap interval.
    """
    by_type = dict.fromkeys(sample.defect_type for sample in samples if sample.label)
    with replacing(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["defect_type", "n_images", "image_auroc", "low", "high"])
        for defect_type in by_type:
            chosen = torch.tensor([s.defect_type in {defect_type, GOOD} for s in samples])
            labels = torch.tensor([s.label for s in samples])[chosen]
            _, positives, negatives = count(scores[chosen], labels)
            values = (
                float(auroc(positives, negatives)),
                *bootstrap_interval(scores[chosen], labels, auroc),
            )
            numbers = ("" if math.isnan(value) else f"{value:.6f}" for value in values)
            writer.writerow([defect_type, int(labels.sum()), *numbers])


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


def print_metrics(metrics: Mapping[str, object], output_dir: Path) -> None:
    """Print a run's table."""
    names = [name for name in METRIC_TITLES if name in metrics]
    weights = "random weights!" if "random" in str(metrics["weights"]) else metrics["weights"]
    table = Table(title=f"{metrics['category']}: {metrics['model']} ({weights})")
    for column in ("reducer", "n", *(METRIC_TITLES[name] for name in names), "seconds"):
        table.add_column(column, justify="left" if column == "reducer" else "right")
    values = (_with_interval(metrics, name) for name in names)
    seconds = f"{metrics['seconds_total']:.1f}"
    table.add_row(str(metrics["reducer"]), str(metrics["n_components"]), *values, seconds)
    console = Console()
    console.print(table)
    console.print(f"Results in {output_dir}", style="dim", soft_wrap=True)
