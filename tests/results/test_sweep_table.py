import csv
from pathlib import Path

import pytest

from fre_lightning.metrics.curves import auroc
from fre_lightning.metrics.info import METRICS, MetricInfo
from fre_lightning.results.stored_run import StoredRun
from fre_lightning.results.sweep_table import print_results, write_results
from fre_lightning.results.table import ResultsTable

ENDS = {"image_auroc_low": 0.85, "image_auroc_high": 0.96}


def make_table(*runs):
    """Of runs `(category, reducer, metrics or error)`."""
    return ResultsTable(
        [
            StoredRun(
                Path(str(i)),
                category,
                {"reducer": reducer},
                {} if isinstance(found, str) else found,
                error=found if isinstance(found, str) else None,
            )
            for i, (category, reducer, found) in enumerate(runs)
        ]
    )


def read_csv(folder):
    with (folder / "results.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_rows_are_categories_and_columns_variants_by_metric(tmp_path):
    table = make_table(
        ("bottle", "pca", {"image_auroc": 0.9}),
        ("bottle", "tae", {"image_auroc": 0.8}),
        ("cable", "pca", {"image_auroc": 0.7}),
        ("cable", "tae", "DatasetError: no folder"),
    )
    write_results(tmp_path, table)
    columns = ("category", "pca image_auroc", "tae image_auroc")
    assert [tuple(row) for row in read_csv(tmp_path)] == [columns] * 3
    assert [tuple(row.values()) for row in read_csv(tmp_path)] == [
        ("bottle", "0.9000", "0.8000"),
        ("cable", "0.7000", ""),
        ("mean", "0.8000", "0.8000 (1)"),
    ]
    assert "cable tae failed: DatasetError: no folder" in (tmp_path / "results.md").read_text()


def test_all_jobs_failed(tmp_path):
    write_results(tmp_path, make_table(("bottle", "pca", "E: x"), ("cable", "pca", "E: x")))
    assert "bottle failed: E: x" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results.csv").read_text().splitlines()[0] == "category"


def test_intervals_have_columns_of_their_own_and_share_a_cell_in_print(tmp_path, capsys):
    table = make_table(
        ("bottle", "pca", {"image_auroc": 0.9, "pixel_aupro": 0.7} | ENDS),
        ("cable", "pca", {"image_auroc": 0.8}),
    )
    write_results(tmp_path, table)
    bottle, cable, mean = read_csv(tmp_path)
    assert bottle == {
        "category": "bottle",
        "image_auroc": "0.9000",
        "image_auroc_low": "0.8500",
        "image_auroc_high": "0.9600",
        "pixel_aupro": "0.7000",
    }
    assert cable["image_auroc_low"] == mean["image_auroc_low"] == ""  # no mean of intervals
    assert (tmp_path / "results.md").read_text().splitlines()[2:5] == [
        "| bottle | 0.9000 [0.850, 0.960] | 0.7000 |",
        "| cable | 0.8000 |  |",
        "| mean | 0.8500 | 0.7000 (1) |",
    ]
    print_results(table, tmp_path)
    assert "0.9000 [0.850, 0.960]" in capsys.readouterr().out


def test_several_variants_are_printed_without_intervals(tmp_path, capsys):
    runs = [("bottle", reducer, {"image_auroc": 0.9} | ENDS) for reducer in ("pca", "ae")]
    print_results(make_table(*runs), tmp_path)
    printed = capsys.readouterr().out
    assert "0.9000" in printed
    assert "0.850" not in printed


def ablation(categories, n_variants):
    return ResultsTable(
        [
            StoredRun(
                Path(f"{category}{i}"),
                category,
                {"scoring.smoothing": str(i), "a.b.c": "x.y"},
                {
                    "image_auroc": 0.5 + 0.1 * i,
                    "image_auroc_low": 0.4,
                    "image_auroc_high": 1.0,
                    "pixel_auroc": 0.9 if category == "cable" else 0.7,
                },
            )
            for category in categories
            for i in range(n_variants)
        ]
    )


def test_more_variants_than_a_page_has_columns_have_rows_of_their_own(tmp_path, capsys):
    table = ablation(["bottle", "cable"], 5)
    write_results(tmp_path, table)
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert lines[:3] == [
        "| category | variant | image_auroc | pixel_auroc |",
        "| --- | --- | ---: | ---: |",
        "| bottle | scoring.smoothing=0 | 0.5000 [0.400, 1.000] | 0.7000 |",
    ]
    assert lines[-2] == "| mean | scoring.smoothing=4 | 0.9000 | 0.8000 |"
    assert len(lines) == 2 + 3 * 5 + 1
    assert [row["category"] for row in read_csv(tmp_path)] == ["bottle", "cable", "mean"]
    print_results(table, tmp_path)
    row = next(line for line in capsys.readouterr().out.splitlines() if " smoothing=3 " in line)
    assert "bottle" in row
    assert "0.8000" in row
    assert "0.7000" in row


def test_a_single_category_has_no_means_over_it(tmp_path, capsys):
    print_results(ablation(["bottle"], 5), tmp_path)
    printed = capsys.readouterr().out
    assert printed.count("bottle") == 5
    assert "mean" not in printed


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_metric_has_a_column_if_it_is_listed(tmp_path, monkeypatch, is_listed):
    monkeypatch.setitem(METRICS, "image_new", MetricInfo("new", auroc, is_listed=is_listed))
    write_results(tmp_path, make_table(("bottle", "pca", {"image_auroc": 0.9, "image_new": 0.1})))
    assert ("image_new" in read_csv(tmp_path)[0]) == is_listed
