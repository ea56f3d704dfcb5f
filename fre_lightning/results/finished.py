"""What `resume=true` goes by: the mark of a finished run, and what the run was made of."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf, flag_override

from fre_lightning.datasets import Sample
from fre_lightning.detector.checkpoint import FILE_NAME as CHECKPOINT
from fre_lightning.files import remove_leftovers, write_json
from fre_lightning.results import run_folder
from fre_lightning.version import __version__

log = logging.getLogger(__name__)

FILE_NAME = "finished.json"
WAS_FINISHED = "was_finished"
"""True among the results of a run that were there before."""


class Origin(NamedTuple):
    """What the results of a run depend on.

    Attributes:
        version: This program's.
        settings: The resolved configuration but for where things are written.
        files: A digest of names, sizes and times of all files that it reads.
    """

    version: str
    settings: dict[str, Any]
    files: str


def find_origin(cfg: DictConfig, samples: Iterable[Sample]) -> Origin:
    """Say what a run will be made of.

    Args:
        cfg: The run's configuration, as composed.
        samples: All its images.
    """
    settings = cfg.copy()
    with flag_override(settings, ["readonly", "struct"], [False, False]):
        settings.resume = False
        settings.paths.output_dir = settings.paths.cache_dir = ""
    # As JSON will give it back: its keys are text.
    content = json.loads(json.dumps(OmegaConf.to_container(settings, resolve=True), default=str))
    digest = hashlib.sha256()
    for path in (*_files_of(samples), *_files_in(content)):
        digest.update(f"{path}\0{_stamp(path)}\n".encode(errors="surrogateescape"))
    return Origin(__version__, content, digest.hexdigest())


def results_if_finished(folder: Path, origin: Origin) -> dict[str, Any] | None:
    """The results of a run that need not run again; or None, and the log says why it runs.

    Args:
        folder: The run's.
        origin: What the run would be made of today.

    Returns:
        The content of `metrics.json`, and `was_finished`.
    """
    try:
        reason = _why_unfinished(folder, origin)
        if not reason:
            results = json.loads((folder / run_folder.METRICS).read_text(encoding="utf-8"))
            log.info("%s was finished before, and is skipped.", folder)
            return dict(results) | {WAS_FINISHED: True}
    except (OSError, ValueError, TypeError, LookupError) as error:
        reason = f"its files are damaged ({type(error).__name__}: {error})"
    log.info("%s runs: %s.", folder, reason)
    return None


def _why_unfinished(folder: Path, origin: Origin) -> str:
    """What is missing or has changed; empty if the run is finished.

    Raises:
        OSError, ValueError, TypeError, LookupError: If its mark cannot be read.
    """
    if not (folder / FILE_NAME).is_file():
        return "it has not ended"
    mark = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    before = Origin(**mark["origin"])
    lost = [name for name in mark["outputs"] if not _is_filled(folder / name)]
    changed = _changed(before.settings, origin.settings)
    reasons = {
        f"{', '.join(lost)} missing or empty": lost,
        f"{', '.join(changed)} changed": changed,
        f"version {before.version} of this program made it": before.version != origin.version,
        "files that it reads changed": before.files != origin.files,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def unmark(folder: Path) -> None:
    """Before a run replaces outputs: those there are none of a finished run any more."""
    remove_leftovers(folder)
    for name in (FILE_NAME, run_folder.METRICS):
        (folder / name).unlink(missing_ok=True)


def mark_finished(folder: Path, origin: Origin) -> None:
    """After the last output of a run."""
    outputs = sorted(path.name for path in folder.iterdir() if path.is_file() and _is_filled(path))
    kept = [name for name in outputs if not name.startswith(".") and not name.endswith(".log")]
    write_json(folder / FILE_NAME, {"origin": origin._asdict(), "outputs": kept})


def _files_of(samples: Iterable[Sample]) -> Iterator[str]:
    for sample in samples:
        yield str(sample.path)
        yield from map(str, sample.mask_paths)
        if sample.region_path is not None:
            yield str(sample.region_path)


def _files_in(content: Any) -> Iterator[str]:
    """The settings that are files: weights, tables, a checkpoint or its folder."""
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _files_in(value)
    elif isinstance(content, str) and content:
        path = os.path.expanduser(content)  # noqa: PTH111 - stays as the user spelled it
        yield from filter(os.path.isfile, (path, os.path.join(path, CHECKPOINT)))  # noqa: PTH118


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116 - twice as fast for a million names
    except (OSError, ValueError):
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _is_filled(path: Path) -> bool:
    """Whether a file is there and has content: power cuts leave empty ones."""
    return path.is_file() and path.stat().st_size > 0


def _changed(before: Any, now: Any, place: str = "") -> list[str]:
    """The keys whose values differ."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return [] if before == now else [place]
    return [
        key
        for name in sorted(before.keys() | now.keys())
        for key in _changed(before.get(name), now.get(name), f"{place}.{name}".lstrip("."))
    ]
