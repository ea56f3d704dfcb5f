"""What became of each job of a sweep: a small file each, for jobs may run in other processes.

Launchers run jobs anywhere, and return to the command only at the end. These files are what the
table after each job, the report and the exit code are made of.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from fre_lightning.files import write_json

_FOLDER = ".jobs"


class SweepJob(NamedTuple):
    """A job that has ended.

    Attributes:
        number: Its place in the sweep.
        folder: Its own, absolute.
        overrides: Its settings, as `key=value`.
        exit_code: 0, 1 after a fault of this program, or 2 after a user's mistake.
        was_finished: Whether it was finished before, and skipped.
    """

    number: int
    folder: str
    overrides: Sequence[str]
    exit_code: int
    was_finished: bool


def forget_jobs(sweep_dir: Path) -> None:
    """At the start of a sweep: forget those of an earlier one in the same folder."""
    shutil.rmtree(sweep_dir / _FOLDER, ignore_errors=True)


def record_job(sweep_dir: Path, job: SweepJob) -> None:
    """Write down what became of a job.

    Raises:
        OSError: If it cannot be written.
    """
    folder = sweep_dir / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{job.number}.json", job._asdict())


def read_jobs(sweep_dir: Path) -> list[SweepJob]:
    """The jobs that have ended, in the order of the sweep."""
    paths = (sweep_dir / _FOLDER).glob("[0-9]*.json")
    return sorted(SweepJob(**json.loads(path.read_text(encoding="utf-8"))) for path in paths)


@contextlib.contextmanager
def one_at_a_time(sweep_dir: Path) -> Iterator[None]:
    """While the body runs, other processes wait: an older table never replaces a newer one."""
    (sweep_dir / _FOLDER).mkdir(parents=True, exist_ok=True)
    with FileLock(sweep_dir / _FOLDER / "lock"):
        yield
