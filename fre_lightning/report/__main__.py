"""`python -m fre_lightning.report`: make a report again, or compare runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fre_lightning.errors import OutputError, exit_code_of
from fre_lightning.files import print_any_name
from fre_lightning.report.page import write_report
from fre_lightning.results.run_folder import REPORT
from fre_lightning.results.stored_run import find_runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 after a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m fre_lightning.report",
        description="Write report.html from what runs stored. Several runs are compared: one "
        "table, ROC curves in one chart, and the settings in which they differ.",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="the folder of a run (outputs/DATE/TIME) or of a sweep (multirun/DATE/TIME)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"default: {REPORT} in the folder; of several, in the current directory",
    )
    options = parser.parse_args(arguments)
    print_any_name()
    several = len(options.folders) > 1
    path = options.output or (Path() if several else options.folders[0]) / REPORT
    path = path.expanduser()  # shells leave the ~ of --output=~/report.html alone

    def work() -> None:
        runs = [run for folder in options.folders for run in find_runs(folder)]
        try:
            write_report(path, list(dict.fromkeys(runs)))
        except OSError as error:
            msg = f"{path} cannot be written ({error}). Choose another --output."
            raise OutputError(msg) from error
        sys.stdout.write(f"{path}\n")

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())
