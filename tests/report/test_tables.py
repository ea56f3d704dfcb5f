from pathlib import Path

import pytest

from fre_lightning.report.tables import (
    defect_types_table,
    differences_table,
    results_table,
)
from fre_lightning.results.stored_run import DefectType, StoredRun
from fre_lightning.results.table import ResultsTable


def make_run(category="a", folder="0", settings=None, error=None, config=None, **metrics):
    settings = {"model": "m", "reducer": "pca"} | (settings or {})
    if not error:
        metrics = {
            "pixel_metrics_size": [32, 48],
            "n_test": 7,
            "n_train": 9,
            "n_components": 3,
        } | metrics
    return StoredRun(Path(folder), category, settings, metrics, error=error, config=config or {})


def texts(row):
    return [f"{cell.text} {cell.note}".strip() for cell in row]


def test_results_show_intervals_and_pixel_scope():
    ends = {"image_auroc_low": 0.9782, "image_auroc_high": 0.9914}
    runs = [make_run(image_auroc=0.98512, pixel_auroc=0.9, seconds_total=1.25, **ends)]
    table = results_table(ResultsTable(runs))
    groups = [(name.replace("\N{NO-BREAK SPACE}", " "), span) for name, span in table.groups]
    assert groups[1:3] == [
        ("image, with 95 % interval", 1),
        ("pixel, at 32x48, over all 7 test images", 1),
    ]
    assert texts(table.rows[0])[1:] == ["0.985 [0.978, 0.991]", "0.9000", "3", "9", "1.2"]
    assert table.rows[0][1].sort == 0.98512
    assert table.means == []
    assert sum(span for _, span in table.groups) == len(table.header) == len(table.rows[0])


def test_sizes_that_differ_stand_in_every_row():
    runs = [
        make_run("a", pixel_auroc=0.9),
        make_run("b", pixel_auroc=0.8, pixel_metrics_size=[64, 64]),
        make_run("c"),
    ]
    table = results_table(ResultsTable(runs))
    column = table.header.index("computed at")
    shown = [row[column].text.replace("\N{NO-BREAK SPACE}", " ") for row in table.rows]
    assert shown[0] == "32x48, over all 7 test images"
    assert shown[2] == "–"  # noqa: RUF001
    assert all(len(row) == len(table.header) for row in [*table.rows, *table.means])


def test_means_say_over_how_many_categories():
    runs = [
        make_run("a", image_auroc=0.8),
        make_run("b", image_auroc=0.9),
        make_run("c", error="lost"),
        make_run("a", settings={"reducer": "ae"}, image_auroc=0.5),
    ]
    table = results_table(ResultsTable(runs))
    (mean,) = table.means  # one category has no mean
    assert texts(mean)[:3] == ["mean", "pca", "0.850 2 of 3"]
    failed = table.rows[2]
    assert [cell.text for cell in failed[2:]] == ["–"] * 4  # noqa: RUF001
    assert all(cell.sort == "" for cell in failed[2:])


def test_a_sweep_of_which_nothing_is_left():
    runs = [make_run(error="x"), make_run("b", error="y")]
    table = results_table(ResultsTable(runs))
    assert len(table.rows) == 2
    assert sum(span for _, span in table.groups) == len(table.header)


@pytest.mark.parametrize("n_runs", [2, 5])
def test_differences_are_all_there_whichever_way_they_stand(n_runs):
    runs = [
        make_run(config={"seed": i, "same": 1, "model": {"pool": i % 2}, "paths": {"x": i}})
        for i in range(n_runs)
    ]
    names = [f"run {i}" for i in range(n_runs)]
    table = differences_table(list(zip(runs, names, strict=True)))
    cells = [list(table.header), *(texts(row) for row in table.rows)]
    grid = cells if cells[0][0] == "setting" else list(map(list, zip(*cells, strict=True)))
    assert [row[0] for row in grid[1:]] == ["model.pool", "seed"]
    assert grid[2][1:] == [str(i) for i in range(n_runs)]
    assert differences_table([(runs[0], name) for name in names[:2]]) is None


def test_defect_types():
    run = make_run()
    image = {"image_auroc": 0.9, "image_auroc_low": 0.8, "image_auroc_high": 1.0}
    kinds = [
        DefectType("dent", 3, image | {"pixel_auroc": 0.95, "pixel_aupro": 0.5}),
        DefectType("odd", 1, {}),
    ]
    table = defect_types_table(StoredRun(run.folder, "a", {}, defect_types=kinds))
    assert [texts(row) for row in table.rows] == [
        ["dent", "3", "0.900 [0.800, 1.000]", "0.9500", "0.5000"],
        ["odd", "1", "–", "–", "–"],  # noqa: RUF001
    ]
