"""A run's metrics in the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fre_lightning.metrics.info import METRICS, interval


def print_metrics(metrics: Mapping[str, Any], output_dir: Path) -> None:
    """Print a run's table from its flat keys."""
    names = [name for name, info in METRICS.items() if info.is_listed and name in metrics]
    weights = "random weights!" if "random" in str(metrics["weights"]) else metrics["weights"]
    table = Table(title=f"{metrics['category']}: {metrics['model']} ({weights})")
    titles = [f"{name.partition('_')[0]}\n{METRICS[name].title}" for name in names]
    for column in ("reducer", "n", *titles, "seconds"):
        table.add_column(
            column, justify="left" if column == "reducer" else "right", overflow="fold"
        )
    values = (_with_interval(metrics, name) for name in names)
    seconds = f"{metrics['seconds_total']:.1f}"
    table.add_row(str(metrics["reducer"]), str(metrics["n_components"]), *values, seconds)
    if any(name.startswith("pixel") for name in names):
        table.caption = f"pixel metrics at {pixel_scope(metrics)}"
    console = Console()
    console.print(table)
    console.print(f"Results in {output_dir}", style="dim", soft_wrap=True)


def pixel_scope(metrics: Mapping[str, Any]) -> str:
    """Describe the size and the images behind the pixel metrics."""
    size = metrics["pixel_metrics_size"]
    at = f"{size[0]}x{size[1]}" if isinstance(size, list) else "each mask's own size"
    return f"{at}, over all {metrics['n_test']} test images"


def _with_interval(metrics: Mapping[str, Any], name: str) -> str:
    """`0.985` and below it, if it is known, `[0.978, 0.991]`."""
    ends = interval(metrics, name)
    return f"{metrics[name]:.4f}" + (f"\n\\[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")
