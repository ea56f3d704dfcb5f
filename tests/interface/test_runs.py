"""`fit` and `evaluate` are the command line's own runs."""

import json
import random
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import fre_lightning
from fre_lightning.cli import main
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.errors import ConfigError, DatasetError
from fre_lightning.fitted import state_digest
from tests.conftest import TINY_MODEL

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TINY = {"model": {"image_size": 32, "n_scales": 2}, "trainer": "cpu"}
RANDOM_NETWORK = ("model=resnet18", "model.weights=random", "model.image_size=64")


@pytest.fixture
def good(mvtec):
    return mvtec / "part/train/good"


@pytest.fixture
def paths(tmp_path):
    return {"paths.cache_dir": tmp_path / "cache"}


@pytest.fixture
def command(monkeypatch, tmp_path, request):
    """The folder of a run of the command line, in this process."""

    def run(*arguments):
        folder = tmp_path / "command"
        own = (f"hydra.run.dir={folder}", f"paths.cache_dir={tmp_path / 'its cache'}")
        quiet = ("logger=none", "report=false", "hydra/job_logging=none")
        monkeypatch.setattr(sys, "argv", ["fre_lightning", *arguments, *own, *quiet])
        main()
        return folder

    return run


def keywords(words):
    return dict(word.split("=") for word in words)


@pytest.mark.parametrize("reducer", ["pca", "tae"])
@pytest.mark.parametrize(
    "model", [TINY_MODEL, pytest.param(RANDOM_NETWORK, marks=pytest.mark.slow)], ids=["tiny", "net"]
)
def test_scores_equal_those_of_the_command_line(command, mvtec, good, paths, model, reducer):
    shared = ("trainer=cpu", "seed=3", "augmentation.max_images=0")
    folder = command(
        *model, f"reducer={reducer}", "dataset=folder", f"dataset.root={good}", *shared
    )
    settings = {key: json.loads(v) if v.isdigit() else v for key, v in keywords(model).items()}
    settings |= {"seed": 3, "augmentation": {"max_images": 0}, "trainer": "cpu"} | paths
    images = sorted((mvtec / "part/test").rglob("*.png"))
    theirs = fre_lightning.load(folder, device="cpu")
    ours = fre_lightning.fit(good, reducer=reducer, **settings)
    for image in images:  # one by one: the size of a batch changes the last digit
        mine, other = ours(image), theirs(image)
        assert (mine.score, mine.threshold) == (other.score, other.threshold)
        np.testing.assert_array_equal(mine.anomaly_map, other.anomaly_map)
    ours.save(folder / "ours.ckpt")
    contents = [read_checkpoint(folder / name) for name in ("ours.ckpt", "model.ckpt")]
    assert contents[0].config == contents[1].config
    assert len({state_digest(content.state_dict) for content in contents}) == 1


def test_the_kind_of_images_changes_nothing(mvtec, good, paths):
    files = sorted(good.iterdir())
    arrays = [np.asarray(Image.open(path)) for path in files]
    kinds = [good, files, [Image.open(path) for path in files], arrays, map(torch.tensor, arrays)]
    image = mvtec / "part/test/dent/000.png"
    scores = {fre_lightning.fit(images, **TINY, **paths)(image).score for images in kinds}
    assert len(scores) == 1


def test_nothing_is_left_behind_but_the_cache(good, paths, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = {*tmp_path.rglob("*")}
    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    n_threads = torch.get_num_threads()
    fre_lightning.fit(good, datamodule={"n_threads": 2}, **TINY, **paths)
    new = {path for path in {*tmp_path.rglob("*")} - before if "cache" not in path.parts}
    assert new == set()
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state[1:]  # noqa: NPY002
    assert torch.get_num_threads() == n_threads
    assert capsys.readouterr().out == ""


def test_a_run_is_kept_where_the_user_says(good, paths, tmp_path):
    detector = fre_lightning.fit(good, **TINY, **paths | {"paths.output_dir": tmp_path / "run"})
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"model.ckpt", "config.yaml", "report.html", "tensorboard"} <= names
    detector.save(tmp_path / "saved.ckpt")
    image = sorted(good.iterdir())[0]
    for path in ("run", "saved.ckpt"):
        assert fre_lightning.load(tmp_path / path)(image).score == detector(image).score


def test_metrics_of_a_folder_and_a_report_if_asked_for(fitted_run, paths, tmp_path, mvtec):
    detector = fre_lightning.load(fitted_run, device="cpu")
    metrics = detector.evaluate(mvtec / "part", **paths)
    expected = json.loads((fitted_run / "metrics.json").read_text())
    for name in ("image_auroc", "pixel_aupro", "recall", "n_test", "threshold"):
        assert metrics[name] == pytest.approx(expected[name], rel=1e-4)
    at_rate = detector.at_rate(0.5)
    settings = {"dataset": "mvtec", "dataset.category": "part", **paths}
    again = fre_lightning.evaluate(at_rate, mvtec, tmp_path / "out", **settings)
    assert again["image_auroc"] == metrics["image_auroc"]
    assert again["threshold"] == at_rate.threshold < metrics["threshold"]
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == again
    assert (tmp_path / "out/report.html").is_file()


def test_settings_of_the_dataset_hold_for_any_images(good, paths):
    for images in (good, sorted(good.iterdir())):
        settings = TINY | paths | {"dataset": {"test_fraction": 0}}
        assert len(fre_lightning.fit(images, **settings).normal_scores) == 16


def test_a_dataset_is_named_by_settings_alone(paths, tmp_path):
    sizes = {"image_size": 32, "n_train": 4, "n_test_good": 1, "n_test_defective": 1}
    settings = {"dataset": "synthetic", "dataset.category": "gear"} | paths
    settings |= {"paths.data_dir": tmp_path} | {f"dataset.{k}": v for k, v in sizes.items()}
    metrics = fre_lightning.fit(**TINY, **settings).evaluate(**settings)
    assert (metrics["category"], metrics["n_test"]) == ("gear", 2)


@pytest.mark.parametrize(
    ("images", "settings", "error", "words"),
    [
        ("nowhere", {}, DatasetError, "nowhere does not exist"),
        ("", {}, DatasetError, "found 0 images"),
        ([], {}, DatasetError, "There are no images"),
        ("", {"sead": 1}, ConfigError, "Did you mean seed"),
    ],
)
def test_a_mistake_is_told(tmp_path, paths, images, settings, error, words):
    (tmp_path / "empty").mkdir()
    folder = tmp_path / "empty" / images if isinstance(images, str) else images
    with pytest.raises(error, match=words):
        fre_lightning.fit(folder, **paths, **settings)
