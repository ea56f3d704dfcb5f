"""Parts of the images for job arrays: disjoint, complete, and merged by one line of shell."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError
from fre_lightning.predict.job import run
from fre_lightning.predict.shard import Shard


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_are_disjoint_complete_and_of_like_size(count):
    paths = [f"parts/day {n % 5}/{n:06d}.png" for n in range(7000)]
    parts = [[*Shard(number, count).select(paths)] for number in range(1, count + 1)]
    assert sorted(path for part in parts for path in part) == sorted(paths)
    expected = len(paths) / count
    assert all(abs(len(part) - expected) < 5 * expected**0.5 + 1 for part in parts)
    assert all(part == sorted(part, key=paths.index) for part in parts[:1])


def test_an_image_that_comes_moves_no_other():
    before = {*Shard(1, 3).select(map(str, range(100)))}
    after = {*Shard(1, 3).select(map(str, range(-1, 100)))}
    assert before <= after


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "0/0", "-1/4", "1", "a/b", "1/4/2", "", 0.5])
def test_nonsense_is_refused(text):
    with pytest.raises(ConfigError, match=r"must be i/n"):
        Shard.parse(text)


def test_the_part_of_a_process(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert Shard.parse("auto") == Shard(3, 4)


@pytest.fixture
def predict(fitted_run, tmp_path):
    """Run predict on the images of `fitted_run` into one folder."""

    def call(*overrides):
        images = fitted_run.parent / "mvtec/part/test"
        places = [f"checkpoint={fitted_run}", f"input={images}", f"paths.output_dir={tmp_path}"]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return run(compose("predict", [*places, *overrides]))

    return call


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_merged_parts_are_the_whole(predict, tmp_path):
    predict()
    n_parts = 4
    for number in range(1, n_parts + 1):
        predict(f"shard={number}/{n_parts}", "heatmaps=true")
    merge = "awk 'FNR > 1 || NR == 1' "
    assert merge in (CONFIG_DIR / "hydra/help/predict.yaml").read_text()
    merge += "predictions-*-of-4.csv > merged.csv"
    subprocess.run(merge, shell=True, check=True, cwd=tmp_path)
    merged, whole = (rows_of(tmp_path / name) for name in ("merged.csv", "predictions.csv"))
    assert len(whole) == 11
    assert sorted(row["path"] for row in whole) == sorted(row["path"] for row in merged)
    scores = {row["path"]: float(row["score"]) for row in whole}
    assert {row["path"]: float(row["score"]) for row in merged} == pytest.approx(scores, rel=1e-5)
    counts = [
        json.loads((tmp_path / f"summary-{number}-of-4.json").read_text())["images"]
        for number in range(1, n_parts + 1)
    ]
    assert sum(sum(count.values()) for count in counts) == 11
    assert len([*(tmp_path / "heatmaps").rglob("*.png")]) == 11


def test_a_part_without_images_has_a_table_without_rows(predict, fitted_run, tmp_path):
    paths = [str(path) for path in (fitted_run.parent / "mvtec/part/test").rglob("*.png")]
    sizes = {number: len([*Shard(number, 40).select(paths)]) for number in range(1, 41)}
    number = min(sizes, key=sizes.__getitem__)
    predict(f"shard={number}/40")
    assert rows_of(tmp_path / f"predictions-{number}-of-40.csv") == []
    assert (tmp_path / f"predictions-{number}-of-40.csv").read_text().startswith("path,score")


def test_a_watched_folder_has_no_parts(predict):
    with pytest.raises(ConfigError, match="watch"):
        predict("shard=1/2", "watch=true")


@pytest.mark.slow
def test_parts_are_a_sweep_too(fitted_run, tmp_path):
    """`-m shard=1/2,2/2` gives each part a process of its own with hydra/launcher=joblib."""
    images = fitted_run.parent / "mvtec/part/test"
    command = [sys.executable, "-m", "fre_lightning.predict", "-m", f"checkpoint={fitted_run}"]
    settings = [f"input={images}", "shard=1/2,2/2", f"paths.output_dir={tmp_path / 'out'}"]
    place = [f"hydra.sweep.dir={tmp_path / 'sweep'}", "hydra/launcher=joblib"]
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    subprocess.run([*command, *settings, *place], check=True, cwd=tmp_path)
    tables = [rows_of(tmp_path / f"out/predictions-{number}-of-2.csv") for number in (1, 2)]
    assert len(tables[0]) + len(tables[1]) == 11
