from fre_lightning.results import tabulate, write_results


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
