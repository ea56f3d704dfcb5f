"""The command line of every command: Hydra composes configurations, jobs run them."""

from fre_lightning.cli.command import main, run_command

__all__ = ["main", "run_command"]
