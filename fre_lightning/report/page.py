"""The page of a report: its template, filled in."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fre_lightning.files import write_text
from fre_lightning.report.charts import comparison_charts
from fre_lightning.report.sections import describe_run
from fre_lightning.report.tables import differences_table, results_table
from fre_lightning.report.template import render
from fre_lightning.results.stored_run import GROUPS, StoredRun, read_run
from fre_lightning.results.table import ResultsTable

_FEW_RUNS = 3  # are shown unfolded


def write_report(path: Path, folders: Sequence[Path]) -> None:
    """Write a report of one or several runs from their stored results.

    Args:
        path: The HTML file.
        folders: The runs' folders; each has results or an error.

    Raises:
        ReportError: If a run's files are damaged.
        OSError: If the file cannot be written.
    """
    page = _render([read_run(folder) for folder in folders], path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)


def _render(runs: Sequence[StoredRun], folder: Path) -> str:
    """The HTML of a page in `folder`."""
    table = ResultsTable(runs)
    names = [f"{r.category} {v}".strip() for r, v in zip(runs, table.variants, strict=True)]
    finished = [(run, name) for run, name in zip(runs, names, strict=True) if run.error is None]
    sections = [describe_run(r, n, folder, len(runs)) for r, n in zip(runs, names, strict=True)]
    return render(
        "report.html",
        script="script.js",
        title=_title(runs, names),
        about=_shared_settings(runs) if len(runs) > 1 else "",
        results=results_table(table),
        notes=table.notes,
        comparisons=comparison_charts(runs, table.variants, names) if len(runs) > 1 else [],
        sections=sections,
        unfolded=len(runs) <= _FEW_RUNS,
        differences=differences_table(finished) if len(finished) > 1 else None,
        configs=[(name, _as_yaml(run.config)) for run, name in finished],
        environments=_environments(finished),
    )


def _title(runs: Sequence[StoredRun], names: Sequence[str]) -> str:
    if len(runs) == 1:
        return names[0]
    categories = list(dict.fromkeys(run.category for run in runs))
    of = categories[0] if len(categories) == 1 else f"{len(categories)} categories"
    return f"{of}, {len(runs)} runs"


def _shared_settings(runs: Sequence[StoredRun]) -> str:
    """The groups that all runs have in common."""
    shared = {
        group: values.pop()
        for group in GROUPS
        if len(values := {run.settings.get(group, "") for run in runs if not run.error}) == 1
    }
    return ", ".join(f"{group} {value}" for group, value in shared.items() if value)


def _as_yaml(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True) if config else ""


def _environments(runs: Sequence[tuple[StoredRun, str]]) -> list[tuple[str, Mapping[str, str]]]:
    """Each set of versions once, with the names of its runs."""
    groups: dict[str, list[str]] = {}
    for run, name in runs:
        if run.environment:
            groups.setdefault(json.dumps(run.environment), []).append(name)
    return [("" if len(groups) == 1 else ", ".join(g), json.loads(e)) for e, g in groups.items()]
