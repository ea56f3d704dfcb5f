"""Which charts a report draws of its runs."""

from collections.abc import Sequence

from markupsafe import Markup

from fre_lightning.report import svg
from fre_lightning.results.stored_run import StoredRun

_CURVES = (
    ("image_roc", "image_auroc", "image ROC"),
    ("pixel_roc", "pixel_auroc", "pixel ROC"),
    ("pixel_pro", "pixel_aupro", "PRO"),
)
_MOST_LINES = 12  # that a chart of several runs is still clear with


def run_charts(run: StoredRun) -> list[tuple[str, Markup]]:
    """Titles and charts of a run: scores, ROC curves and the PRO curve, those there are."""
    charts = []
    if run.images:
        scores = svg.histogram(run.scores(0), run.scores(1), run.threshold)
        charts.append(("Image scores", scores))
    roc = [
        _line(f"{word} AUROC", run, kind, metric)
        for word, kind, metric in (
            ("image", "image_roc", "image_auroc"),
            ("pixel", "pixel_roc", "pixel_auroc"),
        )
        if kind in run.curves
    ]
    if roc:
        charts.append(("ROC", _curve_chart("ROC", "roc", roc)))
    if "pixel_pro" in run.curves:
        line = _line("AUPRO", run, "pixel_pro", "pixel_aupro")
        charts.append(("Per-region overlap (PRO)", _curve_chart("PRO", "pixel_pro", [line])))
    return charts


def comparison_charts(
    runs: Sequence[StoredRun], variants: Sequence[str], names: Sequence[str]
) -> list[tuple[str, Markup]]:
    """Curves laid over each other: of each category's variants, else of all runs."""
    groups: dict[str, list[tuple[str, StoredRun]]] = {}
    for run, variant in zip(runs, variants, strict=True):
        groups.setdefault(run.category, []).append((variant, run))
    if all(len(group) == 1 for group in groups.values()):
        groups = {"all runs": list(zip(names, runs, strict=True))}
    charts = []
    for title, group in groups.items():
        for kind, metric, word in _CURVES:
            lines = [_line(name, run, kind, metric) for name, run in group if kind in run.curves]
            if len(lines) < 2:
                continue
            name = f"{title}: {word}"
            if len(lines) > _MOST_LINES:
                name += f", the first {_MOST_LINES} of {len(lines)}"
            charts.append((name, _curve_chart(name, kind, lines[:_MOST_LINES])))
    return charts


def _line(name: str, run: StoredRun, kind: str, metric: str) -> svg.Line:
    curve, value = run.curves[kind], run.metrics.get(metric)
    label = name if value is None else f"{name} {value:.4f}"
    point = None
    if kind == "image_roc" and {"false_alarm_rate", "recall"} <= run.metrics.keys():
        point = (run.metrics["false_alarm_rate"], run.metrics["recall"])
    return svg.Line(label, curve["x"], curve["y"], point)


def _curve_chart(title: str, kind: str, lines: Sequence[svg.Line]) -> Markup:
    if kind != "pixel_pro":
        return svg.line_chart(title, lines, "false positive rate", "true positive rate")
    limit = max(line.x[-1] for line in lines)
    return svg.line_chart(title, lines, "false positive rate", "per-region overlap", limit)
