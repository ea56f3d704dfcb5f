"""One job of `fre_lightning.update`, from a checkpoint to one that has learnt further parts."""

import time
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

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

REPORT = "update.json"


def run(cfg: DictConfig) -> dict[str, Any]:
    """Update, calibrate, write.

    Args:
        cfg: As composed from `configs/update.yaml`.

    Returns:
        The content of `update.json`.

    Raises:
        FREError: For any error that the user can fix.
    """
    good = find_images("good", cfg.good)
    output_dir = make_output_dir(cfg.paths.output_dir)
    detector = load_detector(cfg)
    scores, p_values = score_all(detector, good)
    odd = warn_of_odd(good, scores, p_values)
    start = time.perf_counter()
    updated = detector.update(good, calibrate_on=cfg.calibrate_on)
    seconds = time.perf_counter() - start
    path = save_detector(updated, cfg.checkpoint, output_dir)
    old = Judgement(detector, scores)
    new = Judgement(updated, updated.normal_scores[-len(good) :])  # these are the last
    report = {
        "checkpoint": str(cfg.checkpoint),
        "good": str(cfg.good),
        "old": describe(old),
        "new": describe(new),
        "odd": odd,
        "seconds": round(seconds, 3),
    }
    write_json(output_dir / REPORT, report)
    notes = [f"{cfg.checkpoint} has learnt {len(good)} good parts of {cfg.good}."]
    write_before_after(output_dir / run_folder.REPORT, "Update", old, new, notes)
    print_before_after(old, new)
    Console().print(f"Updated detector in {path}", style="dim", soft_wrap=True)
    return report
