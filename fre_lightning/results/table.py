"""The table of a sweep: a row per category, columns per variant and metric, a mean row.

Where there are many variants, as in an ablation, people get a row for each instead.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from fre_lightning.files import replacing

METRICS = ("image_auroc", "image_aupr", "image_f1_max", "pixel_auroc", "pixel_aupro")
_MEAN = "mean"
_LABELS = ("category", "variant")
_ENDS = ("_low", "_high")  # of a metric's 95 % interval, in columns behind it

_MAX_SIDE_BY_SIDE = 4
"""So many variants fit into the columns of a terminal."""

CATEGORY = "dataset.category"
GROUPS = ("model", "reducer", "dataset", "scoring")

Outcome = Mapping[str, Any]
"""What a job came to: its metrics, or its `error`; with `category`, `weights`, `overrides`."""


class ResultsTable(NamedTuple):
    """A table and what is to be said below it.

    Attributes:
        header: The first is `category`; then for each variant and metric one, and two for the ends
            of its interval if it has one.
        rows: As many cells as the header; the last row holds the means.
        notes: Failed jobs and random weights, one line each.
    """

    header: list[str]
    rows: list[list[str]]
    notes: list[str]


def tabulate(outcomes: Sequence[Outcome]) -> ResultsTable:
    """Arrange the outcomes of a sweep.

    A variant is what tells the jobs of one category apart: the overrides in which the sweep's
    jobs differ, other than the category.
    """
    varying = _varying_overrides(outcomes)
    cells: dict[tuple[str, str], Outcome] = {}
    for outcome in outcomes:
        variant = " ".join(short_setting(o) for o in outcome["overrides"] if o in varying)
        cells[str(outcome["category"]), variant] = outcome
    categories, variants = (list(dict.fromkeys(keys)) for keys in zip(*cells, strict=True))
    known = [name + end for name in METRICS for end in ("", *_ENDS)]
    metrics = [name for name in known if any(name in outcome for outcome in outcomes)]
    columns = [(variant, name) for variant in variants for name in metrics]
    values = [
        [cells.get((category, variant), {}).get(name) for variant, name in columns]
        for category in categories
    ]
    rows = [
        [category, *(_format(v) for v in row)]
        for category, row in zip(categories, values, strict=True)
    ]
    means = [
        "" if name.endswith(_ENDS) else _mean(column)
        for (_, name), column in zip(columns, zip(*values, strict=True), strict=True)
    ]
    header = ["category", *(f"{variant} {name}".strip() for variant, name in columns)]
    return ResultsTable(header, [*rows, [_MEAN, *means]], _notes(cells))


def write_results(folder: Path, table: ResultsTable) -> None:
    """Write `results.csv`, and `results.md` with intervals in their metric's cell."""
    with replacing(folder / "results.csv") as temporary, temporary.open("w", newline="") as stream:
        csv.writer(stream).writerows([table.header, *table.rows])
    table = stack_variants(fold_intervals(table))
    rule = ["---" if name in _LABELS else "---:" for name in table.header]
    lines = [table.header, rule, *table.rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "".join(f"\n- {note}" for note in table.notes)
    with replacing(folder / "results.md") as temporary:
        temporary.write_text(f"{text}\n{notes}\n")


def fold_intervals(table: ResultsTable, *, shown: bool = True) -> ResultsTable:
    """The table with `0.9850 [0.978, 0.991]` in one cell, or without the intervals."""
    header = table.header
    ends = {
        i: [header.index(name + end) for end in _ENDS]
        for i, name in enumerate(header)
        if name + _ENDS[0] in header
    }

    def cell(row: list[str], i: int) -> str:
        low, high = (row[end] for end in ends[i]) if i in ends else ("", "")
        return f"{row[i]} [{float(low):.3f}, {float(high):.3f}]" if shown and low else row[i]

    kept = [i for i, name in enumerate(header) if not name.endswith(_ENDS)]
    rows = [[cell(row, i) for i in kept] for row in table.rows]
    return ResultsTable([header[i] for i in kept], rows, table.notes)


def stack_variants(table: ResultsTable) -> ResultsTable:
    """A row for each category and variant, if columns for each variant would be too many.

    Of a single category there are no means.
    """
    split = [name.rpartition(" ")[::2] for name in table.header[1:]]
    variants = list(dict.fromkeys(variant for variant, _ in split))
    metrics = list(dict.fromkeys(metric for _, metric in split))
    if len(variants) <= _MAX_SIDE_BY_SIDE:
        return table
    rows = []
    for category, *values in table.rows[:-1] if len(table.rows) == 2 else table.rows:
        cells = dict(zip(split, values, strict=True))
        rows += [
            [category, variant, *(cells[variant, metric] for metric in metrics)]
            for variant in variants
        ]
    return ResultsTable([*_LABELS, *metrics], rows, table.notes)


def print_results(table: ResultsTable, folder: Path) -> None:
    """Print the two AUROCs and the notes to the terminal; it is too narrow for all columns."""
    from rich.console import Console
    from rich.table import Table

    n_variants = sum(name.endswith("image_auroc") for name in table.header)
    table = stack_variants(fold_intervals(table, shown=n_variants == 1))
    view = Table(title="Results")
    shown = [i for i, name in enumerate(table.header) if name in _LABELS or name.endswith("_auroc")]
    for i in shown:
        title = table.header[i].replace(" ", "\n").replace("_auroc", " AUROC")
        is_label = table.header[i] in _LABELS
        view.add_column(title, justify="left" if is_label else "right", overflow="fold")
    for row in table.rows:
        if row[0] == _MEAN:
            view.add_section()
        cells = [_last_keys(row[i]) if table.header[i] == "variant" else row[i] for i in shown]
        view.add_row(*cells, style="bold" if row[0] == _MEAN else None)
    console = Console()
    console.print(view)
    for note in table.notes:
        console.print(note, style="yellow", highlight=False)
    console.print(
        f"All metrics in {folder}/results.csv and results.md", style="dim", soft_wrap=True
    )


def _varying_overrides(outcomes: Sequence[Outcome]) -> set[str]:
    """The overrides that not all jobs have, less the category's."""
    per_job = [set(outcome["overrides"]) for outcome in outcomes]
    varying = set.union(*per_job) - set.intersection(*per_job)
    return {override for override in varying if not override.startswith(f"{CATEGORY}=")}


def short_setting(override: str) -> str:
    """`pca` for `reducer=pca`, whose key is clear without saying."""
    key, _, value = override.partition("=")
    return value if key in GROUPS else override


def _last_keys(variant: str) -> str:
    """`fusion=max smoothing=4` for `scoring.fusion=max scoring.smoothing=4`."""
    settings = (setting.partition("=") for setting in variant.split(" "))
    return " ".join(key.rpartition(".")[2] + equals + value for key, equals, value in settings)


def _format(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _mean(values: Sequence[float | None]) -> str:
    """The mean over categories, which must all have a value for it to be comparable."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return _format(fmean(known)) + ("" if len(known) == len(values) else f" ({len(known)})")


def _notes(cells: Mapping[tuple[str, str], Outcome]) -> list[str]:
    """What the table's reader must know besides its numbers."""
    notes = [
        f"{' '.join((category, variant)).strip()} failed: {outcome['error']}"
        for (category, variant), outcome in cells.items()
        if "error" in outcome
    ]
    if any(str(outcome.get("weights", "")).startswith("random") for outcome in cells.values()):
        notes.append("The weights are random: these figures say nothing about a trained backbone.")
    if any("error" in outcome for outcome in cells.values()):
        notes.append("A mean over fewer than all categories says in brackets over how many.")
    return notes
