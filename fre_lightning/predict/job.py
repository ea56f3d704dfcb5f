"""One job of `fre_lightning.predict`, from configuration to table; also callable without Hydra."""

import logging
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig
from rich.console import Console

from fre_lightning.detector.judge import Judge, Judged
from fre_lightning.errors import ConfigError, DatasetError
from fre_lightning.files import make_output_dir
from fre_lightning.images.notices import n_outside, start_run
from fre_lightning.ood.loading import check_task, load
from fre_lightning.predict.heatmaps import draw_heatmaps, with_heatmaps
from fre_lightning.predict.inputs import Inputs, find_inputs
from fre_lightning.predict.record import Recorder, claim
from fre_lightning.predict.shard import Shard
from fre_lightning.predict.watch import FolderWatcher, make_watcher
from fre_lightning.progress import progress

log = logging.getLogger(__name__)


class Summary(NamedTuple):
    """The outcome of a job.

    Attributes:
        path: The table.
        counts: Number of images by decision (`Judge.words`), and of those that are `unreadable`.
        seconds: From the first image to the last row.
    """

    path: Path
    counts: Counter[str]
    seconds: float


def run(cfg: DictConfig) -> Summary:
    """Judge all images of `cfg.input`.

    Args:
        cfg: As composed from `configs/predict.yaml`.

    Raises:
        FREError: For any error that the user can fix. Unreadable images become rows with an error;
            it is an error only if all are unreadable.
    """
    start_run()
    source = cfg.input if isinstance(cfg.input, str) else [str(entry) for entry in cfg.input]
    shard = None if cfg.shard is None else Shard.parse(cfg.shard)
    if shard and cfg.watch:
        msg = f"shard={cfg.shard} is a part of images that are there, not of what watch waits for."
        raise ConfigError(msg)
    watcher = make_watcher(source, cfg.watch) if cfg.watch else None
    inputs = Inputs(watcher.arrivals, None, watcher.folder) if watcher else find_inputs(source)
    inputs = inputs.part(shard) if shard else inputs
    output_dir = make_output_dir(cfg.paths.output_dir)
    if watcher and cfg.heatmaps and _lies_in(output_dir, watcher.folder):
        msg = f"The heat maps in {output_dir} would be judged, too. Choose paths.output_dir=DIR."
        raise ConfigError(msg)
    if cfg.heatmaps:
        check_task(cfg.checkpoint, ["heatmaps"])
    detector: Judge[Any] = load(
        cfg.checkpoint,
        device=cfg.device,
        false_alarm_rate=cfg.false_alarm_rate,
        threshold=cfg.threshold,
        n_threads=cfg.n_threads,
        roi=cfg.roi,
        roi_root=None if cfg.roi is None else inputs.root,
        method=cfg.method,
        program=cfg.program,
    )
    log.info("%s, on %s", detector.description, detector.device)
    summary = judge(
        detector, inputs, output_dir, heatmaps=cfg.heatmaps, watcher=watcher, shard=shard
    )
    _print(summary)
    if n_outside():
        log.warning("%d images have levels outside of the range of training.", n_outside())
    if summary.counts and set(summary.counts) == {"unreadable"}:
        msg = f"None of the images could be read; {summary.path} says why."
        raise DatasetError(msg)
    return summary


def judge(
    detector: Judge[Any],
    inputs: Inputs,
    output_dir: Path,
    *,
    heatmaps: bool,
    watcher: FolderWatcher | None = None,
    shard: Shard | None = None,
) -> Summary:
    """Write the table and the summary, and heat maps if asked for.

    Args:
        detector: Judges.
        inputs: The images.
        output_dir: Where to write. That of a watched folder remembers what was judged.
        heatmaps: Whether to draw heat maps, if it is a detector of defects.
        watcher: What the images come from, if a folder is watched.
        shard: Which part of all images they are, for the names of files.

    Raises:
        ConfigError: If another process writes there what it judges of a watched folder.
        OutputError: If one of them cannot be written.
    """
    start = time.perf_counter()
    with ExitStack() as stack:  # also left when Ctrl-C ends the program
        if watcher:
            stack.enter_context(claim(output_dir))
            stack.enter_context(closing(watcher))
        recorder = stack.enter_context(closing(Recorder(output_dir, detector, watcher, shard)))
        stream = stack.enter_context(closing(detector.stream(inputs.paths())))
        bar = progress(stream, "Judging", inputs.n_images, unit=" images")
        outcomes: Iterable[Judged[Any]] = stack.enter_context(bar)
        folder = output_dir / "heatmaps"
        if heatmaps and watcher:  # what has a row is not judged again, so its heat map comes first
            outcomes = with_heatmaps(outcomes, folder, inputs.root)
        recorded = recorder.record(outcomes)
        if heatmaps and not watcher:
            draw_heatmaps(recorded, folder, inputs.root, detector.n_threads)
        for _ in recorded:
            pass
    return Summary(recorder.path, recorder.counts, time.perf_counter() - start)


def _lies_in(path: Path, folder: str) -> bool:
    return path.resolve().is_relative_to(Path(folder).resolve())


def _print(summary: Summary) -> None:
    total = summary.counts.total()
    parts = ", ".join(f"{number} {word}" for word, number in sorted(summary.counts.items()))
    speed = total / max(summary.seconds, 1e-9)
    console = Console(highlight=False)
    console.print(f"{total} images ({parts or 'none'}), {speed:.1f} a second", soft_wrap=True)
    console.print(f"Results in {summary.path}", style="dim", soft_wrap=True)
