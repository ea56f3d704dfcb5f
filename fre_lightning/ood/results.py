"""The results of a run: a row per method and unknown set, as files and in the terminal."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from torch import Tensor

from fre_lightning.files import open_text, relative_path
from fre_lightning.metrics.ood import OOD_METRICS, ood_metrics
from fre_lightning.ood.model import Entry
from fre_lightning.ood.unknown import FAR, NEAR, NamedSet
from fre_lightning.results.run_folder import SCORES, write_csv

RESULTS = "results.csv"

Row = dict[str, Any]


class Judged(NamedTuple):
    """What a model says of images.

    Attributes:
        images: The images.
        logits: `(N, K)`.
        scores: `(N, M)` of M methods.
    """

    images: NamedSet
    logits: Tensor
    scores: Tensor


def evaluate(entries: Sequence[Entry], known: Judged, unknown: Sequence[Judged]) -> list[Row]:
    """Metrics of each method and unknown set, and their means over several near or far sets."""
    rows: list[Row] = []
    for column, entry in enumerate(entries):
        own: list[Row] = [
            {
                "method": entry.title,
                "set": one.images.name,
                "kind": one.images.kind,
                "n_unknown": len(one.scores),
                **ood_metrics(known.scores[:, column], one.scores[:, column]),
            }
            for one in unknown
        ]
        rows += own
        for kind in (NEAR, FAR):
            chosen = [row for row in own if row["kind"] == kind]
            if len(chosen) > 1:
                n_unknown = sum(row["n_unknown"] for row in chosen)
                mean: Row = {"method": entry.title, "set": f"{kind} mean", "kind": kind}
                means = {key: fmean(row[key] for row in chosen) for key in OOD_METRICS}
                rows.append(mean | {"n_unknown": n_unknown} | means)
    return rows


def spread(runs: Sequence[Sequence[Row]]) -> list[Row]:
    """The mean and the standard deviation `<metric>_sd` of rows that several runs have."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in (row for run in runs for row in run):
        found.setdefault((row["method"], row["set"]), []).append(row)
    return [
        {key: rows[0][key] for key in ("method", "set", "kind", "n_unknown")}
        | {"n_runs": len(rows)}
        | {key: fmean(float(row[key]) for row in rows) for key in OOD_METRICS}
        | {
            f"{key}_sd": stdev(float(row[key]) for row in rows) if len(rows) > 1 else 0.0
            for key in OOD_METRICS
        }
        for rows in found.values()
    ]


def write_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Write `results.csv`; what a row lacks is empty."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    texts = [[_text(row.get(key, "")) for key in header] for row in rows]
    write_csv(folder / RESULTS, header, texts)


def read_rows(folder: Path) -> list[Row]:
    """Read `results.csv`; values are text."""
    with open_text(folder / RESULTS) as stream:
        return list(csv.DictReader(stream))


def write_image_scores(
    folder: Path,
    entries: Sequence[Entry],
    sets: Sequence[Judged],
    classes: Sequence[str],
    root: Path,
) -> None:
    """Write a row per test image to `scores.csv`: path, set, class that it is taken for, scores.

    Args:
        folder: The run's.
        entries: The M methods.
        sets: Test images.
        classes: The name of each logit.
        root: The folder that paths are relative to.
    """
    rows = []
    for images, logits, scores in sets:
        labels = [classes[i] for i in logits.argmax(dim=1).tolist()]
        for sample, label, row in zip(images.samples, labels, scores.tolist(), strict=True):
            path = relative_path(sample.path, root).as_posix()
            rows.append([path, images.name, label, *(f"{score:.9g}" for score in row)])
    write_csv(folder / SCORES, ("path", "set", "class", *(e.key for e in entries)), rows)


def print_rows(rows: Sequence[Row], title: str, folder: Path) -> None:
    """Print AUROC of each method and set, and FPR95 below it, both in percent."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    table = Table("", title=title, caption="AUROC, and FPR95 below it, in %")
    for name in sets:
        table.add_column(name, justify="right")
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["set"]: row for row in rows if row["method"] == method}
        cells = (f"{_percent(own[name], 'auroc')}\n{_percent(own[name], 'fpr95')}" for name in sets)
        table.add_row(method, *cells)
    console = Console()
    console.print(table)
    console.print(f"Results in {folder}", style="dim", soft_wrap=True)


def _percent(row: Mapping[str, Any], name: str) -> str:
    deviation = f" ± {100 * row[f'{name}_sd']:.1f}" if f"{name}_sd" in row else ""
    return f"{100 * row[name]:.1f}{deviation}"


def _text(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value)
