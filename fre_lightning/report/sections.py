"""The section of a report on one run."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fre_lightning.metrics.info import METRICS, interval
from fre_lightning.report.charts import run_charts
from fre_lightning.report.gallery import make_gallery
from fre_lightning.report.svg import format_number
from fre_lightning.report.tables import defect_types_table, robustness_table
from fre_lightning.report.threshold import threshold_panel, workload_table
from fre_lightning.results.console import pixel_scope
from fre_lightning.results.run_folder import REPORT
from fre_lightning.results.stored_run import StoredRun


def describe_run(run: StoredRun, name: str, folder: Path, n_runs: int) -> dict[str, Any]:
    """A run's section of a page in `folder` that shows `n_runs` of them, for the template."""
    own_report, link = run.folder / REPORT, ""
    if n_runs > 1 and own_report.is_file():
        link = quote(os.fsencode(os.path.relpath(own_report, folder)))
    return {
        "run": run,
        "name": name,
        "about": _describe(run.metrics),
        "flaws": _flaws(run.metrics.get("dataset_health", {})),
        "link": link,
        "tiles": list(_tiles(run)),
        "charts": run_charts(run),
        "threshold": threshold_panel(run),
        "workload": workload_table(run),
        "defect_types": defect_types_table(run),
        "robustness": robustness_table(run),
        **make_gallery(run, n_runs),
    }


def _describe(metrics: Mapping[str, Any]) -> str:
    if not metrics:
        return ""
    height, width = metrics["image_size"]
    grouped = f" in {metrics['n_groups']} groups" if "n_groups" in metrics else ""
    region = ""
    if "region_share" in metrics:
        region = f"; {100 * metrics['region_share']:.0f} % of an image counts"
    return (
        f"{metrics['model']} {metrics['layers']} ({metrics['weights']}) at {height}×{width}, "  # noqa: RUF001
        f"{metrics['reducer']} with {metrics['n_components']} components, "
        f"scoring {metrics['scoring']}, fitted on {metrics['n_train']} good images{grouped}, "
        f"tested on {metrics['n_test']} images{region}"
    )


def _flaws(health: Mapping[str, Any]) -> list[str]:
    """Sentences on what is wrong with the dataset."""
    near, masks = health.get("near_copies", {}), health.get("masks", {})
    found = [*health.get("warnings", [])]
    found += [f"{n} masks are {kind}." for kind, n in masks.items() if n]
    if near.get("test_defective"):
        pairs = "; ".join(f"{test} and {train}" for test, train, _ in near["twins"][:3])
        auroc = near.get("image_auroc_without_twins")
        without = f" Image AUROC without them: {auroc:.4f}." if auroc is not None else ""
        found.append(
            f"{near['test_defective']} defective images show what a good training image shows, for "
            f"example {pairs}.{without}"
        )
    return found


def _tiles(run: StoredRun) -> Iterator[tuple[str, str, str]]:
    """Headline numbers: title, value and note of each."""
    metrics = run.metrics
    for name, info in METRICS.items():
        if not info.is_headline or name not in metrics:
            continue
        kind, ends = name.partition("_")[0], interval(metrics, name)
        note = f"at {pixel_scope(metrics)}" if kind == "pixel" else ""
        if ends:
            note = f"95 % interval {ends[0]:.3f} to {ends[1]:.3f}"
        yield f"{kind.capitalize()} {info.title}", f"{metrics[name]:.3f}", note
    if run.threshold is None:
        return
    for title, label in (("Defects found", 1), ("False alarms", 0)):
        scores = run.scores(label)
        if scores:
            n_above = sum(score > run.threshold for score in scores)
            note = f"{n_above} of {len(scores)} images above {format_number(run.threshold)}"
            yield title, f"{n_above / len(scores):.1%}".replace("%", " %"), note
