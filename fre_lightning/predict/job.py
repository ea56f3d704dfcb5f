"""One job of `fre_lightning.predict`, from configuration to table; also callable without Hydra."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig
from rich.console import Console
from tqdm import tqdm

from fre_lightning.detector.detector import Detector, Outcome, load
from fre_lightning.errors import DatasetError
from fre_lightning.files import make_output_dir
from fre_lightning.images.notices import n_outside, start_run
from fre_lightning.predict.heatmaps import draw_heatmaps
from fre_lightning.predict.inputs import Inputs, find_inputs
from fre_lightning.predict.table import PredictionTable

log = logging.getLogger(__name__)

_DECISIONS = {True: "defective", False: "good", None: "undecided"}


class Summary(NamedTuple):
    """The outcome of a job.

    Attributes:
        path: The table.
        counts: Number of images by decision: `defective`, `good`, `undecided`, `unreadable`.
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
    inputs = find_inputs(source)
    output_dir = make_output_dir(cfg.paths.output_dir)
    detector = load(
        cfg.checkpoint,
        device=cfg.device,
        false_alarm_rate=cfg.false_alarm_rate,
        threshold=cfg.threshold,
        n_threads=cfg.n_threads,
        roi=cfg.roi,
        roi_root=inputs.root,
    )
    log.info("%s, on %s", detector.description, detector.device)
    summary = judge(detector, inputs, output_dir, heatmaps=cfg.heatmaps)
    _print(summary)
    if n_outside():
        log.warning("%d images have levels outside of the range of training.", n_outside())
    if summary.counts and set(summary.counts) == {"unreadable"}:
        msg = f"None of the images could be read; {summary.path} says why."
        raise DatasetError(msg)
    return summary


def judge(detector: Detector, inputs: Inputs, output_dir: Path, *, heatmaps: bool) -> Summary:
    """Write the table, and heat maps if asked for.

    Raises:
        OutputError: If one of them cannot be written.
    """
    path = output_dir / "predictions.csv"
    counts, start = Counter[str](), time.perf_counter()
    with (
        closing(PredictionTable(path)) as table,
        closing(detector.stream(inputs.paths())) as stream,
        tqdm(stream, "Judging", inputs.n_images, unit=" images", disable=None) as bar,
    ):
        recorded = _record(bar, table, counts)
        if heatmaps:
            draw_heatmaps(recorded, output_dir / "heatmaps", inputs.root, detector.n_threads)
        for _ in recorded:
            pass
    return Summary(path, counts, time.perf_counter() - start)


def _record(
    outcomes: Iterable[Outcome], table: PredictionTable, counts: Counter[str]
) -> Iterator[Outcome]:
    """Write and count each outcome, then yield it."""
    for outcome in outcomes:
        image, _, result, error = outcome
        if result is None:
            table.write_error(str(image), error)
            counts["unreadable"] += 1
        else:
            table.write_result(str(image), result)
            counts[_DECISIONS[result.is_defective]] += 1
        yield outcome


def _print(summary: Summary) -> None:
    total = summary.counts.total()
    parts = ", ".join(f"{number} {word}" for word, number in sorted(summary.counts.items()))
    speed = total / max(summary.seconds, 1e-9)
    console = Console(highlight=False)
    console.print(f"{total} images ({parts or 'none'}), {speed:.1f} a second", soft_wrap=True)
    console.print(f"Results in {summary.path}", style="dim", soft_wrap=True)
