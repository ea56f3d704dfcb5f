"""Pages without scripts: a template of this room, filled in."""

from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fre_lightning.files import write_text
from fre_lightning.pictures.embedding import content_policy


def write_simple_page(path: Path, template: str, **values: Any) -> None:
    """Write a page.

    Args:
        path: The HTML file.
        template: The name of the template.
        values: What it takes, but for the style and the policy.

    Raises:
        OSError: If the file cannot be written.
    """
    style = resources.files(__package__).joinpath("templates", "style.css").read_text("utf-8")
    environment = Environment(
        loader=PackageLoader("fre_lightning.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    policy = content_policy(style, "")
    page = environment.get_template(template).render(policy=policy, style=Markup(style), **values)
    write_text(path, page)
