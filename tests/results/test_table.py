import csv

from fre_lightning.results.table import print_results, tabulate, write_results


def outcome(category, reducer, value=None, **more):
    overrides = [f"dataset.category={category}", f"reducer={reducer}", "model=resnet18"]
    metrics = {} if value is None else {"image_auroc": value}
    return {"category": category, "overrides": overrides, **metrics, **more}


def test_rows_are_categories_and_columns_variants_by_metric():
    outcomes = [
        outcome("bottle", "pca", 0.9),
        outcome("bottle", "tae", 0.8),
        outcome("cable", "pca", 0.7),
        outcome("cable", "tae", error="DatasetError: no folder"),
    ]
    table = tabulate(outcomes)
    assert table.header == ["category", "pca image_auroc", "tae image_auroc"]
    assert table.rows == [
        ["bottle", "0.9000", "0.8000"],
        ["cable", "0.7000", ""],
        ["mean", "0.8000", "0.8000 (1)"],
    ]
    assert table.notes[0] == "cable tae failed: DatasetError: no folder"


def test_what_varies_besides_the_category_names_the_column():
    outcomes = [outcome("bottle", "pca", 0.5), outcome("bottle", "pca", 0.6)]
    for seed, item in enumerate(outcomes):
        item["overrides"] = [*item["overrides"], f"seed={seed}"]
    assert tabulate(outcomes).header == ["category", "seed=0 image_auroc", "seed=1 image_auroc"]


def test_random_weights_are_noted():
    table = tabulate([outcome("bottle", "pca", 0.5, weights="random (seed 0)")])
    assert "random" in table.notes[0]


def test_all_jobs_failed(tmp_path):
    table = tabulate(
        [outcome("bottle", "pca", error="E: x"), outcome("cable", "pca", error="E: x")]
    )
    write_results(tmp_path, table)
    assert "bottle failed: E: x" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results.csv").read_text().splitlines()[0] == "category"


def test_intervals_have_columns_of_their_own_and_share_a_cell_in_print(tmp_path, capsys):
    ends = {"image_auroc_low": 0.85, "image_auroc_high": 0.96, "pixel_aupro": 0.7}
    table = tabulate([outcome("bottle", "pca", 0.9, **ends), outcome("cable", "pca", 0.8)])
    write_results(tmp_path, table)
    with (tmp_path / "results.csv").open() as stream:
        bottle, cable, mean = csv.DictReader(stream)
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


def test_many_variants_are_printed_without_intervals(tmp_path, capsys):
    ends = {"image_auroc_low": 0.85, "image_auroc_high": 0.96}
    print_results(tabulate([outcome("bottle", r, 0.9, **ends) for r in ("pca", "ae")]), tmp_path)
    printed = capsys.readouterr().out
    assert "0.9000" in printed
    assert "0.850" not in printed


def ablation(categories, n_variants):
    return [
        {
            "category": category,
            "overrides": [f"dataset.category={category}", f"scoring.smoothing={i}", "a.b.c=x.y"],
            "image_auroc": 0.5 + 0.1 * i,
            "image_auroc_low": 0.4,
            "image_auroc_high": 1.0,
            "pixel_auroc": 0.9 if category == "cable" else 0.7,
        }
        for category in categories
        for i in range(n_variants)
    ]


def test_more_variants_than_a_page_has_columns_have_rows_of_their_own(tmp_path, capsys):
    table = tabulate(ablation(["bottle", "cable"], 5))
    write_results(tmp_path, table)
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert lines[:3] == [
        "| category | variant | image_auroc | pixel_auroc |",
        "| --- | --- | ---: | ---: |",
        "| bottle | scoring.smoothing=0 | 0.5000 [0.400, 1.000] | 0.7000 |",
    ]
    assert lines[-2] == "| mean | scoring.smoothing=4 | 0.9000 | 0.8000 |"
    assert len(lines) == 2 + 3 * 5 + 1
    with (tmp_path / "results.csv").open() as stream:
        assert [row["category"] for row in csv.DictReader(stream)] == ["bottle", "cable", "mean"]
    print_results(table, tmp_path)
    row = next(line for line in capsys.readouterr().out.splitlines() if " smoothing=3 " in line)
    assert "bottle" in row
    assert "0.8000" in row
    assert "0.7000" in row


def test_a_single_category_has_no_means_over_it(tmp_path, capsys):
    print_results(tabulate(ablation(["bottle"], 5)), tmp_path)
    printed = capsys.readouterr().out
    assert printed.count("bottle") == 5
    assert "mean" not in printed
