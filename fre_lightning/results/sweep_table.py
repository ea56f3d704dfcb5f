"""The table of a sweep as CSV, as Markdown, and in the terminal.

Rows are categories and a mean, columns are variants by metrics. Where there are many variants, as
in an ablation, people get a row for each category and variant instead.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fre_lightning.files import write_text
from fre_lightning.metrics.info import INTERVAL_ENDS, METRICS, interval
from fre_lightning.results.run_folder import write_csv
from fre_lightning.results.table import MEAN, ResultsTable

_MAX_SIDE_BY_SIDE = 4
"""The most variants that fit into the columns of a terminal."""


def write_results(folder: Path, table: ResultsTable) -> None:
    """Write `results.csv`, and `results.md` with intervals in their metric's cell."""
    listed, stacked = _listed(table), _is_long(table)
    names = [name + end for name in listed for end in ("", *INTERVAL_ENDS)]
    names = [name for name in names if any(name in run.metrics for run in table.runs)]
    write_csv(folder / "results.csv", *_arrange(table, names))
    header, rows = _arrange(table, listed, intervals=True, stacked=stacked)
    rule = ["---" if i <= stacked else "---:" for i in range(len(header))]
    text = "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))
    notes = "".join(f"\n- {note}" for note in table.notes)
    write_text(folder / "results.md", f"{text}\n{notes}\n")


def print_results(table: ResultsTable, folder: Path) -> None:
    """Print the AUROCs and the notes; a terminal is too narrow for all columns."""
    names = [name for name in _listed(table) if METRICS[name].title == "AUROC"]
    stacked, is_single = _is_long(table), len(set(table.variants)) == 1
    header, rows = _arrange(table, names, intervals=is_single, stacked=stacked)
    view = Table(title="Results")
    for i, name in enumerate(header):
        title = name.replace(" ", "\n").replace("_auroc", " AUROC")
        view.add_column(title, justify="left" if i <= stacked else "right", overflow="fold")
    for row in rows:
        if row[0] == MEAN:
            view.add_section()
        labels = [_last_keys(text) for text in row[: 1 + stacked]]
        view.add_row(*labels, *row[1 + stacked :], style="bold" if row[0] == MEAN else None)
    console = Console()
    console.print(view)
    for note in table.notes:
        console.print(note, style="yellow", highlight=False)
    where = f"All metrics in {folder}/results.csv and results.md"
    console.print(where, style="dim", soft_wrap=True)


def _arrange(
    table: ResultsTable, names: Sequence[str], *, intervals: bool = False, stacked: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Header and rows: of a category, or if `stacked` of a category and a variant.

    Cells are `0.9850`, `0.9850 [0.978, 0.991]`, or `0.9850 (2)`: a mean over 2 of more categories.
    """
    known = {
        (run.category, variant): run.metrics
        for run, variant in zip(table.runs, table.variants, strict=True)
    }

    def cell(category: str, variant: str, name: str) -> str:
        if category == MEAN:
            mean = table.mean(variant, name) if name in METRICS else None
            if mean is None:
                return ""
            value, n = mean
            return f"{value:.4f}" + ("" if n == len(table.categories) else f" ({n})")
        metrics = known.get((category, variant), {})
        if name not in metrics:
            return ""
        ends = interval(metrics, name) if intervals else None
        return f"{metrics[name]:.4f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")

    variants = list(dict.fromkeys(table.variants))
    categories = [*table.categories, MEAN]
    if not stacked:
        header = ["category", *(f"{v} {name}".strip() for v in variants for name in names)]
        rows = [[c, *(cell(c, v, name) for v in variants for name in names)] for c in categories]
        return header, rows
    if len(table.categories) == 1:
        categories.remove(MEAN)
    rows = [[c, v, *(cell(c, v, name) for name in names)] for c in categories for v in variants]
    return ["category", "variant", *names], rows


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
