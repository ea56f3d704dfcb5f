"""One command: its arguments, Hydra, its stops and its exit code.

Nothing heavy is imported before a job starts, so that `--help` and `--cfg job` answer at once.
"""

import sys

import hydra

from fre_lightning.arguments import mend_arguments
from fre_lightning.cli.jobs import USER_ERROR, Command, Job
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError, Stops
from fre_lightning.files import print_any_name


def run_command(config_name: str, job: str) -> None:
    """Compose a configuration from the command line and run it.

    Exits with 2 after a user's mistake, which is told without a traceback and ends no sweep; with
    1 after an error of the program's own; with 130 after Ctrl-C and 143 after SIGTERM.

    Args:
        config_name: The primary configuration, in `configs/`.
        job: The module whose `run` is called with it; imported when the first job starts.
    """
    command = Job.command = Command(Stops(in_order=False))
    print_any_name()
    with command.stops:
        try:
            mend_arguments()
        except ConfigError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(USER_ERROR)
        try:
            hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name)(
                Job(job)
            )()
        finally:
            sys.stderr.write(command.advice)
    if command.exit_codes:
        sys.exit(min(command.exit_codes))


def main() -> None:
    """Run `python -m fre_lightning`."""
    run_command("config", "fre_lightning.experiment.job")
