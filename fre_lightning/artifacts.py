"""The files of a run: metrics, scores and the resolved configuration."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from fre_lightning.atomic import replacing
from fre_lightning.datasets import Sample

METRIC_TITLES = {
    "image_auroc": "image\nAUROC",
    "image_aupr": "image\nAUPR",
    "image_f1_max": "image\nF1-max",
    "pixel_auroc": "pixel\nAUROC",
}


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


def write_config(path: Path, cfg: DictConfig) -> None:
    """Write the configuration with all interpolations resolved."""
    with replacing(path) as temporary:
        temporary.write_text(OmegaConf.to_yaml(cfg, resolve=True))


def relative_path(path: Path, root: Path) -> Path:
    """`path` within `root`, or its bare name if it lies elsewhere."""
    return path.relative_to(root) if path.is_relative_to(root) else Path(path.name)


def print_metrics(metrics: Mapping[str, object], output_dir: Path) -> None:
    """Print a run's table."""
    names = [name for name in METRIC_TITLES if name in metrics]
    weights = "random weights!" if "random" in str(metrics["weights"]) else metrics["weights"]
    table = Table(title=f"{metrics['category']}: {metrics['model']} ({weights})")
    for column in ("reducer", "n", *(METRIC_TITLES[name] for name in names), "seconds"):
        table.add_column(column, justify="left" if column == "reducer" else "right")
    values = (f"{metrics[name]:.4f}" for name in names)
    seconds = f"{metrics['seconds_total']:.1f}"
    table.add_row(str(metrics["reducer"]), str(metrics["n_components"]), *values, seconds)
    console = Console()
    console.print(table)
    console.print(f"Results in {output_dir}", style="dim", soft_wrap=True)
