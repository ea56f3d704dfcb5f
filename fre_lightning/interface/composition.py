"""Configurations from the words of a command line, or from Python's keyword arguments."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from fre_lightning.arguments import mend
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError, did_you_mean

_GROUPS = {path.name for path in CONFIG_DIR.iterdir() if path.is_dir()}


def compose(*overrides: str) -> DictConfig:
    """The configuration of a run, as the command line composes it.

    Args:
        overrides: As on the command line, for example `model=resnet18` or `seed=1`.

    Returns:
        For `fre_lightning.experiment.run`, once `paths.output_dir` is set.

    Raises:
        ConfigError: If there is no such choice or key.
    """
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return hydra.compose("config", [mend(override) for override in overrides])
    except HydraException as error:
        text, _, _ = str(error).partition("Config search path")
        raise ConfigError(" ".join(text.split())) from error


def compose_settings(*layers: Mapping[str, Any]) -> DictConfig:
    """The configuration of a run from Python's values.

    Args:
        layers: Keys and values, later ones before earlier ones. A key is a group, whose value is
            the name of a choice or a dictionary of settings, or a setting with dots.

    Raises:
        ConfigError: If there is no such choice or key.
    """
    items = [item for layer in layers for item in layer.items()]
    choices = {key: value for key, value in items if key in _GROUPS and isinstance(value, str)}
    cfg = compose(*(f"{group}={name}" for group, name in choices.items()))
    for key, value in items:
        if not (key in _GROUPS and isinstance(value, str)):
            _set(cfg, key, value)
    return cfg


def _set(cfg: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(cfg, key, _plain(value), merge=True)
    except (ConfigKeyError, AttributeError) as error:
        unknown = getattr(error, "full_key", None) or key
        parent, _, name = unknown.rpartition(".")
        node = OmegaConf.select(cfg, parent) if parent else cfg
        known = [str(each) for each in node] if isinstance(node, DictConfig) else []
        msg = f"{unknown} is not a setting.{did_you_mean(name, known)}"
        raise ConfigError(msg) from error
    except OmegaConfBaseException as error:
        msg = f"{key}={value!r} cannot be set: {str(error).splitlines()[0]}."
        raise ConfigError(msg) from error


def _plain(value: Any) -> Any:
    """A value as OmegaConf holds it: paths as text, in which nothing is interpolated."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    text = fspath(value) if isinstance(value, PathLike) else value
    return text.replace("${", r"\${") if isinstance(text, str) else text
