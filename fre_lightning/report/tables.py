"""The tables of a report: results, settings in which runs differ, defect types."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fre_lightning.metrics.info import IMAGE_METRICS, METRICS, PIXEL_METRICS, interval
from fre_lightning.results.console import pixel_scope
from fre_lightning.results.stored_run import StoredRun
from fre_lightning.results.table import ResultsTable

_MISSING = "–"  # noqa: RUF001 - a dash, as tables have it
_LONGEST_VALUE = 80


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: The text.
        note: Smaller text after it.
        sort: The value that orders the rows; cells without one come last.
        is_number: Whether it is aligned to the right.
        link: The id of a section to go to.
        is_padded: Whether it is aligned with numbers that have an interval as their note.
    """

    text: str
    note: str = ""
    sort: str | float = ""
    is_number: bool = True
    link: str = ""
    is_padded: bool = False


class Table(NamedTuple):
    """A table.

    Attributes:
        groups: Titles above several columns, and the number of these columns.
        header: Titles of the columns.
        rows: As many cells as the header.
        means: Rows below, which are not sorted.
    """

    groups: Sequence[tuple[str, int]]
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    means: Sequence[Sequence[Cell]] = ()


def results_table(results: ResultsTable) -> Table:
    """A row per run, and the means of each variant over its categories."""
    runs, metrics = results.runs, results.metrics
    n_image = sum(name in IMAGE_METRICS for name in metrics)
    n_pixel = len(metrics) - n_image
    names = ["category", "variant"] if any(results.variants) else ["category"]
    scopes = {_pixel_scope(run.metrics) for run in runs} - {_MISSING}
    has_scopes = len(scopes) > 1
    pixel = f"pixel, at {scopes.pop()}" if len(scopes) == 1 else "pixel"
    groups = [("", len(names)), ("image, with 95 % interval", n_image)]
    groups += [(pixel, n_pixel + has_scopes), ("", 3)]
    header = [
        *names,
        *(METRICS[name].title for name in metrics),
        *(["computed at"] if has_scopes else []),
        *("components", "trained on", "seconds"),
    ]
    rows = []
    for index, (run, variant) in enumerate(zip(runs, results.variants, strict=True)):
        link = f"run-{index}" if len(runs) > 1 else ""
        row = [_text_cell(run.category, link), _text_cell(variant)][: len(names)]
        row += [_metric_cell(run.metrics, name) for name in metrics]
        if has_scopes:
            row.append(Cell(_pixel_scope(run.metrics), is_number=False))
        row += [_number_cell(run.metrics.get(name)) for name in ("n_components", "n_train")]
        row.append(_number_cell(run.metrics.get("seconds_total"), 1))
        rows.append(row)
    means = _means(results, len(header))
    return Table([group for group in groups if group[1]], header, rows, means)


def differences_table(runs: Sequence[tuple[StoredRun, str]]) -> Table | None:
    """The settings in which runs differ, given with their names; None if there are none.

    Settings are rows, or columns if there are fewer of them than of runs.
    """
    configs = [dict(_flatten(run.config)) for run, _ in runs]
    keys = sorted(
        key for key in set().union(*configs) if len({config.get(key) for config in configs}) > 1
    )
    if not keys:
        return None
    grid = [["setting", *(name for _, name in runs)]]
    grid += [[key, *(config.get(key, _MISSING) for config in configs)] for key in keys]
    if len(keys) < len(runs):
        grid[0][0] = "run"
        grid = [list(row) for row in zip(*grid, strict=True)]
    header, *rows = grid
    return Table((), header, [[_text_cell(_cut(text)) for text in row] for row in rows])


def defect_types_table(run: StoredRun) -> Table:
    """The metrics of each defect type against all good images."""
    pixel = [name for name in PIXEL_METRICS if any(name in k.metrics for k in run.defect_types)]
    header = ["defect type", "images", "image AUROC, with 95 % interval"]
    rows = [
        [
            _text_cell(kind.name),
            _number_cell(kind.n_images),
            *(_metric_cell(kind.metrics, name) for name in ("image_auroc", *pixel)),
        ]
        for kind in run.defect_types
    ]
    return Table((), [*header, *(f"pixel {PIXEL_METRICS[name].title}" for name in pixel)], rows)


def robustness_table(run: StoredRun) -> Table:
    """What changed test images do: shares of good and defective ones above the threshold."""
    header = ["test images", "good ones stopped", "defects found", "image AUROC"]
    rows = [
        [
            _text_cell(name),
            *(_share_cell(row[key]) for key in ("stopped", "found")),
            _number_cell(row["image_auroc"], 3),
        ]
        for name, row in run.robustness.items()
    ]
    return Table((), header, rows)


def _means(results: ResultsTable, n_columns: int) -> list[list[Cell]]:
    """A row per variant of several categories."""
    rows = []
    pairs = {(run.category, v) for run, v in zip(results.runs, results.variants, strict=True)}
    for variant in dict.fromkeys(results.variants):
        if sum(own == variant for _, own in pairs) < 2:
            continue
        row = [Cell("mean", is_number=False)]
        row += [Cell(variant, is_number=False)] if any(results.variants) else []
        row += [_mean_cell(results, variant, name) for name in results.metrics]
        rows.append(row + [Cell("")] * (n_columns - len(row)))
    return rows


def _mean_cell(results: ResultsTable, variant: str, name: str) -> Cell:
    mean, has_interval = results.mean(variant, name), name in IMAGE_METRICS
    if mean is None:
        return Cell(_MISSING, is_padded=has_interval)
    (value, n), n_all = mean, len(results.categories)
    note = "" if n == n_all else f"{n} of {n_all}"
    return Cell(f"{value:.{3 if has_interval else 4}f}", note, is_padded=has_interval)


def _metric_cell(metrics: Mapping[str, Any], name: str) -> Cell:
    """`0.985 [0.978, 0.991]`; four digits where there is no interval."""
    is_padded = name in IMAGE_METRICS
    if name not in metrics:
        return Cell(_MISSING, is_padded=is_padded)
    value, ends = metrics[name], interval(metrics, name)
    if ends is None:
        return Cell(f"{value:.4f}", sort=value, is_padded=is_padded)
    return Cell(f"{value:.3f}", f"[{ends[0]:.3f}, {ends[1]:.3f}]", value)


def _number_cell(value: float | None, digits: int = 0) -> Cell:
    return Cell(_MISSING) if value is None else Cell(f"{value:.{digits}f}", sort=value)


def _share_cell(value: float | None) -> Cell:
    return Cell(_MISSING) if value is None else Cell(f"{100 * value:.0f} %", sort=value)


def _text_cell(text: str, link: str = "") -> Cell:
    return Cell(text, sort=text, is_number=False, link=link)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _pixel_scope(metrics: Mapping[str, Any]) -> str:
    if not any(name in metrics for name in PIXEL_METRICS):
        return _MISSING
    return pixel_scope(metrics).replace(" ", "\N{NO-BREAK SPACE}")


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values as text, but for the places where the run wrote to."""
    for key, value in config.items():
        if f"{prefix}{key}" in {"paths", "logger"}:
            continue
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "null" if value is None else str(value)
