"""One job of `fre_lightning.calibrate`, from a checkpoint to a calibrated one."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fre_lightning.files import make_output_dir, write_json
from fre_lightning.report.before_after import write_before_after
from fre_lightning.results import run_folder
from fre_lightning.results.before_after import (
    Judgement,
    describe,
    find_images,
    load_detector,
    print_before_after,
    save_detector,
    score_all,
    warn_of_odd,
)
from fre_lightning.scoring.operating_points import (
    Cost,
    Counts,
    OperatingPoint,
    choose_point,
    find_points,
)

REPORT = "calibration.json"


def run(cfg: DictConfig) -> dict[str, Any]:
    """Calibrate, choose an operating point, write.

    Args:
        cfg: As composed from `configs/calibrate.yaml`.

    Returns:
        The content of `calibration.json`.

    Raises:
        FREError: For any error that the user can fix.
    """
    good = find_images("good", cfg.good)
    defective = find_images("defective", cfg.defective) if cfg.defective else None
    output_dir = make_output_dir(cfg.paths.output_dir)
    detector = load_detector(cfg)
    scores, p_values = score_all(detector, good)
    odd = warn_of_odd(good, scores, p_values)
    calibrated = detector.calibrate(good)
    before, after = (
        score_all(d, defective)[0] if defective else None for d in (detector, calibrated)
    )
    points = find_points(
        calibrated.normal_scores, after, detector.false_alarm_rate, Cost(**cfg.cost)
    )
    chosen = choose_point(points, cfg.operating_point)
    if chosen.name != "rate":
        calibrated = calibrated.at_rate(chosen.rate)
    old = Judgement(detector, scores, before)
    new = Judgement(calibrated, calibrated.normal_scores, after)
    path = save_detector(calibrated, cfg.checkpoint, output_dir)
    report = {
        "checkpoint": str(cfg.checkpoint),
        "good": str(cfg.good),
        "defective": cfg.defective and str(cfg.defective),
        "old": describe(old),
        "new": describe(new),
        "operating_point": chosen.name,
        "operating_points": [_as_json(point) for point in points],
        "odd": odd,
    }
    write_json(output_dir / REPORT, report)
    notes = [f"{cfg.checkpoint} on {len(good)} good parts of {cfg.good}. Point: {chosen.name}."]
    write_before_after(output_dir / run_folder.REPORT, "Calibration", old, new, notes)
    print_before_after(old, new)
    _print_points(points, chosen.name, path)
    return report


def _as_json(point: OperatingPoint) -> dict[str, Any]:
    counts = {"good_stopped": point.stopped, "defective_missed": point.missed}
    return {
        "name": point.name,
        "false_alarm_rate": point.rate,
        "threshold": point.threshold,
        **{key: value and value._asdict() for key, value in counts.items()},
    }


def _print_points(points: list[OperatingPoint], chosen: str, path: Path) -> None:
    table = Table("operating point", "threshold", "good parts stopped", "defective parts missed")
    for point in points:
        name = f"{point.name} (chosen)" if point.name == chosen else point.name
        texts = map(_text, (point.stopped, point.missed))
        table.add_row(name, f"{point.threshold:.4g}", *texts)
    console = Console()
    console.print(table)
    console.print(f"Calibrated detector in {path}", style="dim", soft_wrap=True)


def _text(counts: Counts | None) -> str:
    """`3 of 60 (1 to 14 %)`."""
    if counts is None:
        return ""
    return f"{counts.n} of {counts.total} ({100 * counts.low:.0f} to {100 * counts.high:.0f} %)"
