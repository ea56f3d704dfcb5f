"""The report of a run: tables, histograms, and the most surprising images of each side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from fre_lightning.datasets import Sample
from fre_lightning.files import visible, write_text
from fre_lightning.metrics.info import interval
from fre_lightning.metrics.ood import OOD_METRICS
from fre_lightning.ood.model import OODModel
from fre_lightning.ood.results import Judged, Row
from fre_lightning.pictures.embedding import data_uri
from fre_lightning.pictures.thumbnails import draw_thumbnail
from fre_lightning.report import svg
from fre_lightning.report.tables import Cell, Table
from fre_lightning.report.template import render

_N_PICTURES = 12
_NAMES = ("known", "unknown")


class _Picture(NamedTuple):
    """A picture of an image, the name of its set, its score and its path."""

    uri: str
    set: str
    score: str
    path: str


def write_page(
    path: Path,
    model: OODModel,
    summary: Mapping[str, Any],
    known: Judged,
    unknown: Sequence[Judged],
    method: int,
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        model: Has the methods.
        summary: The run's metrics.
        known: Known test images.
        unknown: Sets of unknown images.
        method: The number of the method whose surprises are shown.

    Raises:
        OSError: If the file cannot be written.
    """
    rows: list[Row] = summary["results"]
    right = f", right on {summary['accuracy']:.2%}" if "accuracy" in summary else ""
    title = f"{summary['classifier']}: known and unknown"
    page = render(
        "ood.html",
        title=title,
        notes=[
            f"{model.description}{right}. Learnt from {summary['n_train']} images, tested on "
            f"{summary['n_test']} known ones."
        ],
        tables=[
            (f"{name}: {rows_of[0]['n_unknown']} images, {rows_of[0]['kind']}", _table(rows_of))
            for name, rows_of in _by_set(rows).items()
        ],
        charts=[
            (f"{entry.title}, {one.images.name}", _chart(known.scores[:, i], one.scores[:, i]))
            for i, entry in enumerate(model.entries)
            for one in unknown
        ],
        galleries=_galleries(model.entries[method].title, known, unknown, method),
    )
    write_text(path, page)


def _by_set(rows: Sequence[Row]) -> dict[str, list[Row]]:
    by_set: dict[str, list[Row]] = {}
    for row in rows:
        by_set.setdefault(row["set"], []).append(row)
    return by_set


def _table(rows: Sequence[Row]) -> Table:
    header = ["method", *(info.title for info in OOD_METRICS.values())]
    body = [
        [Cell(row["method"], is_number=False), *(_cell(row, name) for name in OOD_METRICS)]
        for row in rows
    ]
    return Table((), header, body)


def _cell(row: Row, name: str) -> Cell:
    ends = interval(row, name)
    return Cell(f"{row[name]:.3f}", f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


def _chart(known: Tensor, unknown: Tensor) -> Any:
    return svg.histogram(known.tolist(), unknown.tolist(), None, _NAMES)


def _galleries(
    title: str, known: Judged, unknown: Sequence[Judged], method: int
) -> list[tuple[str, list[_Picture]]]:
    """Titles and pictures; those that were spoilt when they were read have none."""
    as_files = [one for one in unknown if one.images.change is None]
    return [
        (f"Known images that {title} finds the least like the others", _top([known], method, -1)),
        (f"Unknown images that {title} finds the most like known ones", _top(as_files, method, 1)),
    ]


def _top(sets: Sequence[Judged], method: int, sign: int) -> list[_Picture]:
    """The images of the lowest scores times a sign."""
    images = [
        (score, one.images.name, sample)
        for one in sets
        for sample, score in zip(one.images.samples, one.scores[:, method].tolist(), strict=True)
    ]
    images.sort(key=lambda image: sign * image[0])
    return [
        _Picture(_encode(sample), name, svg.format_number(score), visible(str(sample.path)))
        for score, name, sample in images[:_N_PICTURES]
    ]


def _encode(sample: Sample) -> str:
    encoded = draw_thumbnail(sample)
    return "" if encoded is None else data_uri("image/webp", encoded)
