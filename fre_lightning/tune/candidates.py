"""Candidates: the settings that each of them adds to those of the command line."""

import shlex
from collections.abc import Sequence

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fre_lightning.arguments import mend
from fre_lightning.errors import ConfigError

_OWN = ("tune.", "paths.output_dir=")  # what a run does not take over


def compose_candidate(typed: Sequence[str], candidate: str) -> DictConfig:
    """The configuration of a candidate.

    Args:
        typed: The settings of the command line.
        candidate: Its own, which override them, as one would type them.

    Raises:
        ConfigError: If there is no such setting or choice.
    """
    try:
        return compose("tune", [*typed, *split(candidate)])
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        msg = f"{reason}. Correct the candidate {candidate}."
        raise ConfigError(msg) from error


def split(candidate: str) -> list[str]:
    """Its settings one by one, as Hydra takes them.

    Raises:
        ConfigError: If a quote is not closed.
    """
    try:
        return [mend(argument) for argument in shlex.split(candidate)]
    except ValueError as error:
        msg = f"The candidate {candidate} cannot be read ({error}). Correct its quotes."
        raise ConfigError(msg) from error


def command_line(typed: Sequence[str], candidate: str) -> str:
    """The command that fits a detector with a candidate."""
    settings = [setting for setting in typed if not setting.startswith(_OWN)]
    return shlex.join(["python", "-m", "fre_lightning", *settings, *split(candidate)])
