"""The part of a report on its threshold: what it does in parts, and what any other would do."""

from typing import Any

from fre_lightning.metrics.workload import find_workloads
from fre_lightning.report.tables import Cell, Table
from fre_lightning.results.stored_run import StoredRun


def threshold_panel(run: StoredRun) -> dict[str, Any] | None:
    """What the slider of a run moves along; None if the run has no threshold or no test images.

    Returns:
        `threshold`, that of the run, and `images`: score, label and path of each test image.
    """
    if run.threshold is None or not run.images:
        return None
    images = [(image.score, image.label, image.path) for image in run.images]
    return {"threshold": run.threshold, "images": images}


def workload_table(run: StoredRun) -> Table | None:
    """Mistakes of each kind if some of the other are allowed; None without both kinds of images."""
    good, defective = run.scores(0), run.scores(1)
    if not good or not defective:
        return None
    rows = [
        [
            Cell(f"{workload.percent} %", sort=workload.percent, is_number=False),
            _share(workload.n_stopped, len(good)),
            _share(workload.n_missed, len(defective)),
        ]
        for workload in find_workloads(good, defective)
    ]
    header = [
        "mistakes allowed",
        "good parts stopped, if so many defective ones may be missed",
        "defective parts missed, if so many good ones may be stopped",
    ]
    return Table((), header, rows)


def _share(n: int, total: int) -> Cell:
    return Cell(f"{n} of {total}", f"{n / total:.1%}".replace("%", " %"), sort=n / total)
