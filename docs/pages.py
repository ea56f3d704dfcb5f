"""Pages of the site that are made of other files: README, settings, the Python interface."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import fre_lightning

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
COPIES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}

PUBLIC = (
    "interface.runs.fit",
    "interface.runs.evaluate",
    "interface.composition.compose",
    "detector.loading.load",
    "detector.detector.Detector",
    "detector.result.DetectionResult",
    "interface.estimator.FREDetector",
)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie in no file."""
    pages = {name: moved((ROOT / source).read_text()) for name, source in COPIES.items()}
    pages |= {"settings.md": settings(), "python.md": interface()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def moved(text: str) -> str:
    """A page of the root folder with its links as they are from `docs/`."""
    for name, source in COPIES.items():
        text = text.replace(f"]({source})", f"]({name})")
    text = re.sub(r"\[[^]]*\]\((docs/notebooks/[^)]*)\)", r"`\1`", text)  # no pages of the site
    return text.replace("](docs/", "](")


def settings() -> str:
    """Each YAML file with its comments: first those of commands, then the choices of each group."""
    parts = ["# Settings", "What `--help` prints: each key with its default, and what it does."]
    commands = sorted(CONFIGS.glob("*.yaml"), key=lambda path: (path.stem != "config", path.stem))
    choices = sorted(path for path in CONFIGS.glob("*/*.yaml") if path.parent.name != "hydra")
    choices += sorted(CONFIGS.glob("hydra/launcher/*.yaml"))
    for path in [*commands, *choices]:
        name = path.relative_to(CONFIGS).with_suffix("").as_posix()
        title = "=".join(name.rsplit("/", 1)) if "/" in name else f"{name}.yaml"
        parts.append(f"## {title}\n\n```yaml\n{path.read_text().rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def interface() -> str:
    """What `import fre_lightning` gives, by its docstrings."""
    parts = ["# Python", fre_lightning.__doc__ or ""]
    inherited = "\n    options:\n      inherited_members: [__call__, detect_batch]"
    parts += [
        f"::: fre_lightning.{path}{inherited * path.endswith('.Detector')}" for path in PUBLIC
    ]
    return "\n\n".join(parts) + "\n"
