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
        text: What it shows.
        note: Smaller, after it.
        sort: What its column is sorted by; empty cells have none and come last.
        is_number: Whether it is aligned to the right.
        link: The id of the section it leads to.
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
        groups: Titles above several columns, and how many each spans.
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
    runs, variants, metrics = results.runs, results.variants, results.metrics
    n_image = sum(name in IMAGE_METRICS for name in metrics)
    n_pixel = len(metrics) - n_image
    has_variants = any(variants)
    names = ["category", *(["variant"] if has_variants else [])]
    groups = [("", len(names)), ("image, with 95 % interval", n_image)]
    scopes = {_pixel_scope(run.metrics) for run in runs} - {_MISSING}
    shared_scope = f", at {scopes.pop()}" if len(scopes) == 1 else ""
    has_scopes = bool(n_pixel) and not shared_scope
    groups += [(f"pixel{shared_scope}", n_pixel + has_scopes)] if n_pixel else []
    header = [
        *names,
        *(METRICS[name].title for name in metrics),
        *(["computed at"] if has_scopes else []),
        *("components", "trained on", "seconds"),
    ]
    rows = []
    for index, (run, variant) in enumerate(zip(runs, variants, strict=True)):
        link = f"run-{index}" if len(runs) > 1 else ""
        row = [Cell(run.category, sort=run.category, is_number=False, link=link)]
        row += [Cell(variant, sort=variant, is_number=False)] if has_variants else []
        row += [_metric_cell(run.metrics, name) for name in metrics]
        if has_scopes:
            row.append(Cell(_pixel_scope(run.metrics), is_number=False))
        row += [_number_cell(run.metrics.get(name)) for name in ("n_components", "n_train")]
        row.append(_number_cell(run.metrics.get("seconds_total"), 1))
        rows.append(row)
    means = _means(results, len(header))
    return Table([group for group in [*groups, ("", 3)] if group[1]], header, rows, means)


def differences_table(runs: Sequence[StoredRun], names: Sequence[str]) -> Table | None:
    """The settings of the resolved configurations in which runs differ, if there are any."""
    configs = [dict(_flatten(_without_places(run.config))) for run in runs]
    keys = sorted(
        key for key in set().union(*configs) if len({config.get(key) for config in configs}) > 1
    )
    if not keys:
        return None
    values = [[_plain_cell(config.get(key, _MISSING)) for config in configs] for key in keys]
    if len(keys) >= len(runs):
        rows = [[_plain_cell(key), *row] for key, row in zip(keys, values, strict=True)]
        return Table((), ["setting", *names], rows)
    columns = zip(*values, strict=True)
    return Table(
        (),
        ["run", *keys],
        [[_plain_cell(name), *column] for name, column in zip(names, columns, strict=True)],
    )


def defect_types_table(run: StoredRun) -> Table:
    """How well each defect type is told from all good images, and its pixels if there are masks."""
    pixel = [name for name in PIXEL_METRICS if any(name in k.metrics for k in run.defect_types)]
    header = ["defect type", "images", "image AUROC, with 95 % interval"]
    rows = [
        [
            Cell(kind.name, sort=kind.name, is_number=False),
            _number_cell(kind.n_images),
            *(_interval_cell(kind.metrics, name) for name in ("image_auroc", *pixel)),
        ]
        for kind in run.defect_types
    ]
    return Table((), [*header, *(f"pixel {PIXEL_METRICS[name].title}" for name in pixel)], rows)


def _means(results: ResultsTable, n_columns: int) -> list[list[Cell]]:
    """A row per variant that several categories were run with."""
    rows = []
    pairs = list(zip(results.runs, results.variants, strict=True))
    for variant in dict.fromkeys(results.variants):
        if len({run.category for run, own in pairs if own == variant}) < 2:
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
    note = "" if mean.is_complete else f"{mean.n} of {len(results.categories)}"
    return Cell(f"{mean.value:.{3 if has_interval else 4}f}", note, is_padded=has_interval)


def _metric_cell(metrics: Mapping[str, Any], name: str) -> Cell:
    return _interval_cell(metrics, name)._replace(is_padded=name in IMAGE_METRICS)


def _interval_cell(metrics: Mapping[str, Any], name: str) -> Cell:
    """`0.985 [0.978, 0.991]`; four digits where there is no interval."""
    if name not in metrics:
        return Cell(_MISSING)
    value, ends = metrics[name], interval(metrics, name)
    if ends is None:
        return Cell(f"{value:.4f}", sort=value)
    return Cell(f"{value:.3f}", f"[{ends[0]:.3f}, {ends[1]:.3f}]", value)


def _number_cell(value: float | None, digits: int = 0) -> Cell:
    return Cell(_MISSING) if value is None else Cell(f"{value:.{digits}f}", sort=value)


def _plain_cell(text: str) -> Cell:
    text = text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
    return Cell(text, sort=text, is_number=False)


def _pixel_scope(metrics: Mapping[str, Any]) -> str:
    """At which size pixel metrics were computed, and over what."""
    if not any(name in metrics for name in PIXEL_METRICS):
        return _MISSING
    return pixel_scope(metrics).replace(" ", "\N{NO-BREAK SPACE}")


def _without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration less where the run wrote to."""
    return {key: value for key, value in config.items() if key not in {"paths", "logger"}}


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values as text."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "null" if value is None else str(value)
