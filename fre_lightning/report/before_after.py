"""The page of a calibration or an update: scores and thresholds before and after."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from fre_lightning.files import write_text
from fre_lightning.report import svg
from fre_lightning.report.template import render
from fre_lightning.results.before_after import Judgement, compare


def write_before_after(
    path: Path, title: str, old: Judgement, new: Judgement, notes: Sequence[str] = ()
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        title: Its heading.
        old: What the detector said before.
        new: What it says now.
        notes: Paragraphs for its head.

    Raises:
        OSError: If the file cannot be written.
    """
    page = render(
        "before_after.html",
        title=title,
        notes=notes,
        charts=[("Before", _chart(old)), ("After", _chart(new))],
        rows=compare(old, new),
    )
    write_text(path, page)


def _chart(judgement: Judgement) -> Markup:
    detector, good, defective = judgement
    below = [] if defective is None else defective.tolist()
    return svg.histogram(good.tolist(), below, detector.threshold)
