"""The folder of the configurations, their resolvers, and objects built from them."""

import textwrap
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fre_lightning.errors import FREError

_PACKAGE_DIR = Path(__file__).resolve().parent
_BUNDLED = _PACKAGE_DIR / "configs"  # exists in an installed wheel only
CONFIG_DIR = _BUNDLED if _BUNDLED.is_dir() else _PACKAGE_DIR.parent / "configs"


def _published(published: Any, other: Any, *, _root_: DictConfig) -> Any:
    """Resolve `${published:a,b}`: a if `published` is true, as with `scoring=paper`, else b."""
    return published if _root_.published else other


def _settings(name: str) -> str:
    """Resolve `${settings:predict}`: the keys of `configs/predict.yaml`, for `--help`."""
    lines = (CONFIG_DIR / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    hydras = ("defaults:", "  - ", "_target_:", "  _target_:", "# @package")
    settings = "\n".join(line for line in lines if not line.startswith(hydras)).strip()
    return textwrap.indent(settings.replace("$", "$$"), "  ")  # Hydra's help is a template


OmegaConf.register_new_resolver("published", _published, replace=True)
OmegaConf.register_new_resolver("settings", _settings, replace=True)


def build_stored(group: str, config: Any) -> Any:
    """Instantiate a group of a run's stored configuration; settings that it lacks are today's.

    Args:
        group: Its name.
        config: The run's resolved configuration.

    Raises:
        FREError: Raised by the constructor, as it was raised.
    """
    node = OmegaConf.create({group: config[group]})[group]
    for path in sorted((CONFIG_DIR / group).glob("*.yaml")):
        today = OmegaConf.load(path)
        if isinstance(today, DictConfig) and today.get("_target_") == node["_target_"]:
            today.merge_with(node)
            return build(today)
    return build(node)


def build(node: DictConfig, **kwargs: Any) -> Any:
    """Instantiate a configuration node.

    Args:
        node: Has a `_target_`.
        kwargs: Further arguments, ready-made objects.

    Raises:
        FREError: Raised by the constructor, as it was raised.
    """
    try:
        return instantiate(node, **kwargs, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, FREError):
            raise error.__cause__ from None
        raise
