"""Templates of this room, filled in: pages that load nothing from elsewhere."""

from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fre_lightning.pictures.embedding import content_policy
from fre_lightning.report import svg


def render(template: str, script: str = "", **values: Any) -> str:
    """The HTML of a page.

    Args:
        template: The name of the template.
        script: The name of the script that the page runs; none by default.
        values: What the template takes, but for style, script and policy.
    """
    style, code = _read("style.css"), _read(script) if script else ""
    environment = Environment(
        loader=PackageLoader("fre_lightning.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable, "number": svg.format_number}
    return environment.get_template(template).render(
        policy=content_policy(style, code), style=Markup(style), script=Markup(code), **values
    )


def _read(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _breakable(path: str) -> Markup:
    """Let lines break after each slash of a path."""
    return Markup("/<wbr>").join(path.split("/"))
