import json

import pytest

from fre_lightning.errors import ReportError
from fre_lightning.report import find_runs, read_run


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return folder


def test_what_a_run_wrote_is_read_back(fitted_run):
    stored = read_run(fitted_run)
    assert stored.metrics == json.loads((fitted_run / "metrics.json").read_text())
    assert len(stored.images) == stored.metrics["n_test"] == 11
    assert len(stored.scores(0)) == 5
    assert stored.threshold == stored.metrics["threshold"]
    assert {kind.n_images for kind in stored.defect_types} == {3}
    assert set(stored.curves) == {"image_roc", "pixel_roc", "pixel_pro"}
    assert stored.config["reducer"]["n_components"] == 0.97
    assert {"fre_lightning", "torch", "torchvision", "pytorch-lightning", "python", "platform"} <= (
        stored.environment.keys()
    )
    assert stored.settings["reducer"] == "pca"


def test_runs_of_a_sweep_are_in_order_failed_ones_among_them(tmp_path):
    for number in (0, 2, 10):
        write(tmp_path / str(number), metrics_json='{"category": "a"}')
    write(tmp_path / "1", error_json='{"category": "b", "error": "DatasetError: gone"}')
    (tmp_path / "3").mkdir()
    folders = find_runs(tmp_path)
    assert [folder.name for folder in folders] == ["0", "1", "2", "10"]
    failed = read_run(folders[1])
    assert (failed.category, failed.error) == ("b", "DatasetError: gone")
    assert find_runs(tmp_path / "0") == [tmp_path / "0"]


def test_settings_come_from_choices_overrides_and_what_was_really_used(tmp_path):
    hydra = (
        "hydra: {runtime: {choices: {model: resnet18, reducer: pca, dataset: mtd}},"
        " overrides: {task: [reducer=pca, +seed=3, dataset.category=x]}}"
    )
    folder = write(tmp_path, metrics_json='{"category": "x", "reducer": "ae"}')
    write(folder / ".hydra", hydra_yaml=hydra)
    expected = {"model": "resnet18", "reducer": "ae", "dataset": "mtd", "seed": "3"}
    assert read_run(folder).settings == expected


def test_a_run_without_test_images_ignores_older_files(tmp_path):
    write(
        tmp_path,
        metrics_json='{"category": "a", "n_test": 0}',
        scores_csv="path,label,defect_type,score\nx,0,good,1\n",
    )
    assert list(read_run(tmp_path).images) == []


@pytest.mark.parametrize(
    "files",
    [
        {"metrics_json": "{"},
        {"metrics_json": "[1]"},
        {"metrics_json": "{}"},
        {"metrics_json": '{"category": "a", "n_test": 1}', "scores_csv": "path\nx\n"},
        {"metrics_json": '{"category": "a"}', "config_yaml": "a: [1"},
    ],
)
def test_damaged_files_are_named(tmp_path, files):
    with pytest.raises(ReportError, match="damaged"):
        read_run(write(tmp_path / "broken", **files))


def test_a_folder_without_runs(tmp_path):
    with pytest.raises(ReportError, match="There is no run in"):
        find_runs(tmp_path)
