"""The table of a sweep as CSV, as Markdown, and in the terminal.

Rows are categories and a mean, columns are variants by metrics. Where there are many variants, as
in an ablation, people get a row for each category and variant instead.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from fre_lightning.files import replacing, write_text
from fre_lightning.metrics.info import INTERVAL_ENDS, METRICS, interval
from fre_lightning.results.table import MEAN, ResultsTable

_MAX_SIDE_BY_SIDE = 4
"""The most variants that fit into the columns of a terminal."""

Cell = Callable[[str, str, str], str]
"""The text of a category, or `mean`, a variant and a metric."""


class _Grid(NamedTuple):
    header: list[str]
    rows: list[list[str]]
    n_labels: int


def write_results(folder: Path, table: ResultsTable) -> None:
    """Write `results.csv`, and `results.md` with intervals in their metric's cell."""
    listed = _listed(table)
    names = [name + end for name in listed for end in ("", *INTERVAL_ENDS)]
    names = [name for name in names if any(name in run.metrics for run in table.runs)]
    grid = _arrange(table, names, _make_cell(table), stacked=False)
    with replacing(folder / "results.csv") as temporary, temporary.open("w", newline="") as stream:
        csv.writer(stream).writerows([grid.header, *grid.rows])
    grid = _arrange(table, listed, _make_cell(table, intervals=True), stacked=_is_long(table))
    rule = ["---" if i < grid.n_labels else "---:" for i in range(len(grid.header))]
    text = "\n".join(f"| {' | '.join(line)} |" for line in (grid.header, rule, *grid.rows))
    notes = "".join(f"\n- {note}" for note in table.notes)
    write_text(folder / "results.md", f"{text}\n{notes}\n")


def print_results(table: ResultsTable, folder: Path) -> None:
    """Print the AUROCs and the notes; a terminal is too narrow for all columns."""
    names = [name for name in _listed(table) if METRICS[name].title == "AUROC"]
    cell = _make_cell(table, intervals=len(set(table.variants)) == 1)
    grid = _arrange(table, names, cell, stacked=_is_long(table))
    view = Table(title="Results")
    for i, name in enumerate(grid.header):
        title = name.replace(" ", "\n").replace("_auroc", " AUROC")
        view.add_column(title, justify="left" if i < grid.n_labels else "right", overflow="fold")
    for row in grid.rows:
        if row[0] == MEAN:
            view.add_section()
        labels = [_last_keys(text) for text in row[: grid.n_labels]]
        view.add_row(*labels, *row[grid.n_labels :], style="bold" if row[0] == MEAN else None)
    console = Console()
    console.print(view)
    for note in table.notes:
        console.print(note, style="yellow", highlight=False)
    where = f"All metrics in {folder}/results.csv and results.md"
    console.print(where, style="dim", soft_wrap=True)


def _arrange(table: ResultsTable, names: Sequence[str], cell: Cell, *, stacked: bool) -> _Grid:
    """Cells in rows: of a category, or if `stacked` of a category and a variant."""
    variants = list(dict.fromkeys(table.variants))
    categories = [*table.categories, MEAN]
    if not stacked:
        header = ["category", *(f"{v} {name}".strip() for v in variants for name in names)]
        rows = [[c, *(cell(c, v, name) for v in variants for name in names)] for c in categories]
        return _Grid(header, rows, 1)
    if len(table.categories) == 1:
        categories.remove(MEAN)
    rows = [[c, v, *(cell(c, v, name) for name in names)] for c in categories for v in variants]
    return _Grid(["category", "variant", *names], rows, 2)


def _make_cell(table: ResultsTable, *, intervals: bool = False) -> Cell:
    """`0.9850`, or `0.9850 [0.978, 0.991]`; `0.9850 (2)` is a mean over 2 of more categories."""
    known = {
        (run.category, variant): run.metrics
        for run, variant in zip(table.runs, table.variants, strict=True)
    }

    def cell(category: str, variant: str, name: str) -> str:
        if category == MEAN:
            mean = table.mean(variant, name) if name in METRICS else None
            if mean is None:
                return ""
            return f"{mean.value:.4f}" + ("" if mean.is_complete else f" ({mean.n})")
        metrics = known.get((category, variant), {})
        if name not in metrics:
            return ""
        ends = interval(metrics, name) if intervals else None
        return f"{metrics[name]:.4f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")

    return cell


def _listed(table: ResultsTable) -> list[str]:
    return [name for name in table.metrics if METRICS[name].is_listed]


def _is_long(table: ResultsTable) -> bool:
    return len(set(table.variants)) > _MAX_SIDE_BY_SIDE


def _last_keys(variant: str) -> str:
    """`fusion=max smoothing=4` for `scoring.fusion=max scoring.smoothing=4`."""
    settings = (setting.partition("=") for setting in variant.split(" "))
    return " ".join(
        (key.rpartition(".")[2] if equals else key) + equals + value
        for key, equals, value in settings
    )
