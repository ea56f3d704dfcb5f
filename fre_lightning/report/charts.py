"""The charts of a report: scores and curves of its runs."""

from collections.abc import Sequence

from markupsafe import Markup

from fre_lightning.report import svg
from fre_lightning.report.blind_spots import blind_spots_chart
from fre_lightning.results.stored_run import StoredRun

_CURVES = {
    "image_roc": ("image ROC", "image_auroc"),
    "pixel_roc": ("pixel ROC", "pixel_auroc"),
    "pixel_pro": ("PRO", "pixel_aupro"),
}
"""Title and metric of each kind of curve."""
_MOST_LINES = 12  # that a chart of several runs is still clear with


def run_charts(run: StoredRun) -> list[tuple[str, Markup]]:
    """Titles and charts of a run: scores, ROC curves and the PRO curve, those there are."""
    charts = []
    if run.images:
        scores = svg.histogram(run.scores(0), run.scores(1), run.threshold)
        charts.append(("Image scores", scores))
    names = {"image_roc": "image AUROC", "pixel_roc": "pixel AUROC"}
    roc = [_line(name, run, kind) for kind, name in names.items() if kind in run.curves]
    if roc:
        charts.append(("ROC", _curve_chart("ROC", "roc", roc)))
    if "pixel_pro" in run.curves:
        line = _line("AUPRO", run, "pixel_pro")
        charts.append(("Per-region overlap (PRO)", _curve_chart("PRO", "pixel_pro", [line])))
    if run.blind_spots:
        charts.append(("Blind spots", blind_spots_chart(run)))
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
        for kind, (word, _) in _CURVES.items():
            lines = [_line(name, run, kind) for name, run in group if kind in run.curves]
            if len(lines) < 2:
                continue
            name = f"{title}: {word}"
            if len(lines) > _MOST_LINES:
                name += f", the first {_MOST_LINES} of {len(lines)}"
            charts.append((name, _curve_chart(name, kind, lines[:_MOST_LINES])))
    return charts


def _line(name: str, run: StoredRun, kind: str) -> svg.Line:
    curve, value = run.curves[kind], run.metrics.get(_CURVES[kind][1])
    label = name if value is None else f"{name} {value:.4f}"
    point = None
    if kind == "image_roc" and {"false_alarm_rate", "recall"} <= run.metrics.keys():
        point = (run.metrics["false_alarm_rate"], run.metrics["recall"])
    return svg.Line(label, curve["x"], curve["y"], point)


def _curve_chart(title: str, kind: str, lines: Sequence[svg.Line]) -> Markup:
    y_label, limit = "true positive rate", 1.0
    if kind == "pixel_pro":
        y_label, limit = "per-region overlap", max(line.x[-1] for line in lines)
    return svg.line_chart(title, lines, "false positive rate", y_label, limit)
