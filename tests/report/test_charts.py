"""Which charts there are of a run, and of several."""

import re
from pathlib import Path

from fre_lightning.report.charts import comparison_charts, run_charts
from fre_lightning.results.stored_run import ScoredImage, StoredRun

CURVE = {"x": [0.0, 0.1, 0.2], "y": [0.0, 0.8, 1.0]}
ALL = {"image_roc": CURVE, "pixel_roc": CURVE, "pixel_pro": CURVE}
METRICS = {"image_auroc": 0.91234, "pixel_auroc": 0.8, "pixel_aupro": 0.7, "threshold": 2.0}


def make_run(category="part", curves=ALL, metrics=METRICS):
    images = [ScoredImage(f"{i}.png", i % 2, "good", 1.0 + i) for i in range(4)]
    return StoredRun(Path("x"), category, {}, metrics, images, curves=curves)


def titles(charts):
    return [title for title, _ in charts]


def test_a_run_has_the_charts_that_it_has_numbers_for():
    charts = dict(run_charts(make_run()))
    assert list(charts) == ["Image scores", "ROC", "Per-region overlap (PRO)"]
    assert "threshold 2" in charts["Image scores"]
    assert "image AUROC 0.9123" in charts["ROC"]
    assert "pixel AUROC 0.8000" in charts["ROC"]
    assert "AUPRO 0.7000" in charts["Per-region overlap (PRO)"]
    one = dict(run_charts(make_run(curves={"image_roc": CURVE}, metrics={})))
    assert list(one) == ["Image scores", "ROC"]
    assert "pixel" not in one["ROC"]
    assert run_charts(StoredRun(Path("x"), "part", {}, error="failed")) == []


def test_the_threshold_is_a_point_of_the_image_curve():
    with_point = METRICS | {"false_alarm_rate": 0.1, "recall": 0.8}
    assert dict(run_charts(make_run(metrics=with_point)))["ROC"].count("<circle") == 1
    assert "<circle" not in dict(run_charts(make_run()))["ROC"]


def test_the_pro_curve_ends_where_its_data_end():
    charts = dict(run_charts(make_run()))
    left, right = 48, 368  # of the frame
    assert end_of_line(charts["ROC"]) == left + 0.2 * (right - left)
    assert end_of_line(charts["Per-region overlap (PRO)"]) == right


def end_of_line(chart):
    return float(re.search(r'points="[^"]* ([0-9.]+),[0-9.]+"', chart).group(1))


def test_variants_of_a_category_are_compared():
    runs = [make_run("a"), make_run("b"), make_run("a"), make_run("b", curves={})]
    charts = comparison_charts(runs, ["pca", "pca", "ae", "ae"], ["1", "2", "3", "4"])
    assert titles(charts) == ["a: image ROC", "a: pixel ROC", "a: PRO"]
    assert "pca 0.9123" in charts[0][1]
    assert "ae 0.9123" in charts[0][1]


def test_single_runs_of_categories_are_laid_over_each_other():
    runs = [make_run(f"c{i}") for i in range(14)]
    names = [f"name{i}" for i in range(14)]
    charts = comparison_charts(runs, [""] * 14, names)
    assert titles(charts)[0] == "all runs: image ROC, the first 12 of 14"
    assert charts[0][1].count("<polyline") == 12
    assert comparison_charts(runs[:1], [""], names[:1]) == []
