"""Configuration files to test over: a new one is tested by being there."""

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from fre_lightning.config import CONFIG_DIR


def names(group: str) -> list[str]:
    """What can be chosen of a group: the stems of its files."""
    return [path.stem for path in sorted((CONFIG_DIR / group).glob("*.yaml"))]


def compose_config(*overrides: str, primary: str = "config") -> DictConfig:
    """The configuration of a run."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose(primary, [*overrides])
