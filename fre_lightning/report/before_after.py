"""The page of a calibration or an update: scores and thresholds before and after."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fre_lightning.files import write_text
from fre_lightning.pictures.embedding import content_policy
from fre_lightning.report import svg
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
    style = resources.files(__package__).joinpath("templates", "style.css").read_text("utf-8")
    environment = Environment(
        loader=PackageLoader("fre_lightning.report"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("before_after.html").render(
        title=title,
        policy=content_policy(style, ""),
        style=Markup(style),
        notes=notes,
        charts=[("Before", _chart(old)), ("After", _chart(new))],
        rows=compare(old, new),
    )
    write_text(path, page)


def _chart(judgement: Judgement) -> Markup:
    detector, good, defective = judgement
    below = [] if defective is None else defective.tolist()
    return svg.histogram(good.tolist(), below, detector.threshold)
