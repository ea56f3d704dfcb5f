"""Which runs `resume=true` skips: those whose settings, files and outputs are as they were."""

import json
import logging
import os

import pytest
from hydra import compose, initialize_config_dir

from fre_lightning.config import CONFIG_DIR
from fre_lightning.datasets import Sample
from fre_lightning.results import finished
from fre_lightning.results.finished import (
    FILE_NAME,
    find_origin,
    mark_finished,
    results_if_finished,
    unmark,
)

RESULTS = {"image_auroc": 0.1 + 0.2, "category": "part"}


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / "images" / name for name in ("a.png", "b.png", "b_mask.png", "weights.pth")]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_bytes(b"12345")
    return paths


@pytest.fixture
def origin_of(images):
    def find(*overrides):
        samples = [Sample(images[0]), Sample(images[1], "dent", (images[2],))]
        weights = f"model.weights={images[3]}"
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = compose("config", ["model=resnet18", weights, "paths.output_dir=a", *overrides])
        return find_origin(cfg, samples)

    return find


@pytest.fixture
def run_dir(tmp_path, origin_of):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(RESULTS))
    (folder / "scores.csv").write_text("path\n")
    (folder / "fre_lightning.log").write_text("line\n")
    mark_finished(folder, origin_of())
    return folder


def test_a_finished_run_gives_its_results(run_dir, origin_of):
    assert results_if_finished(run_dir, origin_of()) == RESULTS | {"was_finished": True}


@pytest.mark.parametrize(
    "override", ["resume=true", "paths.output_dir=elsewhere", "paths.cache_dir=elsewhere"]
)
def test_where_things_are_written_does_not_matter(run_dir, origin_of, override):
    assert results_if_finished(run_dir, origin_of(override))


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=1", "seed"),
        ("reducer=tae", "reducer._target_"),
        ("model.pool=[1,1]", "model.pool"),
        ("tags=[new]", "tags"),
    ],
)
def test_a_changed_setting_is_named(run_dir, origin_of, override, key, caplog):
    caplog.set_level(logging.INFO)
    assert results_if_finished(run_dir, origin_of(override)) is None
    assert key in caplog.text


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("change", ["time", "size", "gone"])
def test_a_changed_file_is_noticed(run_dir, origin_of, images, number, change):
    path = images[number]
    if change == "time":
        os.utime(path, (1, 1))
    elif change == "size":
        path.write_bytes(b"1")
    else:
        path.unlink()
    assert results_if_finished(run_dir, origin_of()) is None


@pytest.mark.parametrize("name", ["metrics.json", "scores.csv", FILE_NAME])
@pytest.mark.parametrize("content", [None, "", "{"])
def test_lost_empty_and_damaged_outputs_are_made_again(run_dir, origin_of, name, content, caplog):
    caplog.set_level(logging.INFO)
    if content is None:
        (run_dir / name).unlink()
    else:
        (run_dir / name).write_text(content)
    is_whole = (name, content) == ("scores.csv", "{")  # what it says is nobody's business here
    assert bool(results_if_finished(run_dir, origin_of())) == is_whole
    assert ("runs: " in caplog.text) != is_whole


def test_a_log_is_no_output(run_dir, origin_of):
    (run_dir / "fre_lightning.log").unlink()
    assert results_if_finished(run_dir, origin_of())


def test_another_version_of_the_program_runs_again(run_dir, origin_of, monkeypatch):
    monkeypatch.setattr(finished, "__version__", "99")
    assert results_if_finished(run_dir, origin_of()) is None


def test_a_run_that_has_begun_again_is_not_finished(run_dir, origin_of):
    unmark(run_dir)
    assert results_if_finished(run_dir, origin_of()) is None
    assert not (run_dir / "metrics.json").exists()
