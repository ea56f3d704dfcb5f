"""Whole runs on tiny images, through `run`."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from fre_lightning.errors import CheckpointError, ConfigError, FeatureError
from fre_lightning.experiment import run
from tests.conftest import TINY_MODEL
from tests.experiment.conftest import read_scores

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_run_writes_what_it_returns(make_config, output_dir):
    summary = run(make_config("heatmaps=true", "tags=[tiny]"))
    assert json.loads((output_dir / "metrics.json").read_text()) == summary
    assert summary["category"] == "part"
    assert (summary["n_train"], summary["n_test"]) == (16, 11)
    assert summary["tags"] == ["tiny"]
    assert summary["image_auroc"] > 0.9
    for stage in ("extract", "fit", "test", "write", "total"):
        assert summary[f"seconds_{stage}"] >= 0
    rows = read_scores(output_dir)
    assert [row["defect_type"] for row in rows] == ["good"] * 5 + ["dent"] * 3 + ["spot"] * 3
    labels, scores = ([float(row[key]) for row in rows] for key in ("label", "score"))
    assert summary["image_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    for row in rows:
        assert (output_dir / "heatmaps" / row["path"]).with_suffix(".png").is_file()
    for defect_type in ("dent", "spot"):
        chosen = [row for row in rows if row["defect_type"] in {defect_type, "good"}]
        pairs = [(float(row["label"]), float(row["score"])) for row in chosen]
        expected = roc_auc_score(*zip(*pairs, strict=True))
        with (output_dir / "defect_types.csv").open() as stream:
            row = next(r for r in csv.DictReader(stream) if r["defect_type"] == defect_type)
        assert (row["n_images"], float(row["image_auroc"])) == ("3", pytest.approx(expected))
        assert float(row["low"]) <= expected <= float(row["high"])
        assert 0 < float(row["pixel_auroc"]) <= 1
        assert 0 < float(row["pixel_aupro"]) <= 1
    assert summary["image_auroc_low"] <= summary["image_auroc"] <= summary["image_auroc_high"]
    assert "n_components: 0.97" in (output_dir / "config.yaml").read_text()
    assert list(output_dir.glob("**/*.tmp")) == []


@pytest.mark.parametrize("reducer", ["pca", pytest.param("tae", marks=pytest.mark.slow)])
def test_the_same_run_writes_the_same_bytes_but_for_times(make_config, mvtec, tmp_path, reducer):
    """First the features are computed, then read, then computed once more."""
    # One that is not found: else each draw of the bootstrap has the same metrics.
    shutil.copy(mvtec / "part/test/good/000.png", mvtec / "part/test/dent/000.png")
    written = []
    for name in ("computed", "read", "again"):
        if name == "again":
            shutil.rmtree(tmp_path / "cache")
        folder = tmp_path / name
        run(make_config(f"reducer={reducer}", "report=false", f"paths.output_dir={folder}"))
        lines = (folder / "metrics.json").read_bytes().splitlines()
        without_times = [line for line in lines if b'"seconds_' not in line]
        assert len(without_times) == len(lines) - 5
        written.append((without_times, (folder / "scores.csv").read_bytes()))
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize(
    ("reducer", "scoring"),
    [
        pytest.param("ae", "paper", marks=pytest.mark.slow),
        ("pca", "topk"),
        pytest.param("ae", "topk", marks=pytest.mark.slow),
        pytest.param("pca", "paper", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_gives_the_same_scores_in_a_fresh_process(
    make_config, settings, output_dir, tmp_path, reducer, scoring
):
    run(make_config(f"reducer={reducer}", f"scoring={scoring}"))
    again = tmp_path / "again"
    command = [sys.executable, "-m", "fre_lightning", *settings, f"ckpt_path={output_dir}"]
    subprocess.run([*command, f"hydra.run.dir={again}"], check=True, capture_output=True)
    before, after = (
        np.array([float(row["score"]) for row in read_scores(folder)])
        for folder in (output_dir, again)
    )
    np.testing.assert_allclose(after, before, rtol=1e-5)
    assert not (again / "model.ckpt").exists()
    summary = json.loads((again / "metrics.json").read_text())
    assert (summary["reducer"], summary["n_train"]) == (reducer, 16)
    assert summary["scoring"] == scoring


@pytest.mark.parametrize("root", ["relative", "absolute", "link", "other link"])
def test_names_do_not_depend_on_how_the_root_is_given(
    make_config, mvtec, output_dir, tmp_path, monkeypatch, root
):
    """In a test, a folder good and a folder dent have images of the same names."""
    monkeypatch.chdir(mvtec)
    (tmp_path / "link").symlink_to(mvtec / "part")
    (tmp_path / "linked").symlink_to(mvtec)
    paths = {
        "relative": "part",
        "absolute": mvtec / "part",
        "link": tmp_path / "link",
        "other link": "../linked/../linked/part",
    }
    run(make_config("dataset=folder", f"dataset.root={paths[root]}", "heatmaps=true"))
    rows = [row["path"] for row in read_scores(output_dir)]
    assert rows == [str(p.relative_to(mvtec / "part")) for p in _test_images(mvtec / "part/test")]
    maps = (output_dir / "heatmaps").rglob("*.png")
    assert sorted(str(p.relative_to(output_dir / "heatmaps")) for p in maps) == sorted(rows)


def test_folders_outside_the_root_keep_their_names_apart(make_config, mvtec, output_dir, tmp_path):
    good, bad = mvtec / "part/train/good", mvtec / "part/test/dent"
    (tmp_path / "root").mkdir()
    folders = f"dataset.good_dir={good}", f"dataset.defect_dirs=[{bad},../mvtec/part/test/spot]"
    root = tmp_path / "root"
    run(make_config("dataset=folder", f"dataset.root={root}", *folders, "heatmaps=true"))
    rows = [row["path"] for row in read_scores(output_dir)]
    assert len(rows) == len(set(rows)) == len([*(output_dir / "heatmaps").rglob("*.png")])


def test_images_that_differ_in_their_suffix_alone_have_a_heat_map_each(
    make_config, mvtec, output_dir
):
    image = Image.open(mvtec / "part/test/good/000.png")
    image.save(mvtec / "part/test/good/000.jpg")
    run(make_config("heatmaps=true"))
    names = {path.name for path in (output_dir / "heatmaps/part/test/good").iterdir()}
    assert {"000.png", "000.jpg.png"} < names


@pytest.mark.slow
def test_names_that_are_no_valid_text_survive(mvtec, output_dir, tmp_path):
    """Also where the locale has no letters but ASCII."""
    name = os.fsdecode("数".encode() + b"\xe4")
    folder = (mvtec / "part").rename(mvtec / name)
    for kind, suffix in (("test", ""), ("ground_truth", "_mask")):
        images = (folder / kind / "dent").rename(folder / kind / name)
        (images / f"000{suffix}.png").rename(images / f"{name}{suffix}.png")
    command = [sys.executable, "-m", "fre_lightning", *TINY_MODEL, "dataset=folder", "trainer=cpu"]
    command += [f"dataset.root='{folder}'", "logger=tensorboard", "heatmaps=true"]
    command += [f"paths.cache_dir={tmp_path / 'cache'}"]
    for run_dir, variables in (
        (output_dir, {}),
        (output_dir / name, {"LC_ALL": "C", "PYTHONUTF8": "0"}),
    ):
        arguments, environment = [*command, f"hydra.run.dir='{run_dir}'"], os.environ | variables
        ended = subprocess.run(arguments, env=environment, check=False, capture_output=True)
        assert (ended.returncode, b"Error" in ended.stderr) == (0, False), ended.stderr
        page = (run_dir / "report.html").read_bytes().replace(b"<wbr>", b"")
        assert b"<title>" + os.fsencode(name) in page
        for content in (page, (run_dir / "scores.csv").read_bytes()):
            assert os.fsencode(f"test/{name}/{name}.png") in content
        assert (run_dir / "heatmaps/test" / name / f"{name}.png").is_file()


def _test_images(folder):
    kinds = ("good", "dent", "spot")
    return [path for kind in kinds for path in sorted((folder / kind).iterdir())]


def test_debug_is_fast_and_logs_nothing(make_config, output_dir):
    summary = run(make_config("debug=default", "reducer=ae"))
    assert (summary["n_train"], summary["tags"]) == (8, ["debug"])
    assert not (output_dir / "tensorboard").exists()


def test_without_test_images_the_detector_is_stored(make_config, mvtec, output_dir):
    shutil.rmtree(mvtec / "part/test")
    shutil.rmtree(mvtec / "part/ground_truth")
    assert run(make_config())["n_test"] == 0
    assert (output_dir / "model.ckpt").is_file()


def test_two_training_images_are_scored_without_holding_one_out(make_config, caplog):
    run(make_config("datamodule.limit_images=2", "scoring=topk"))
    assert "With 2 training images none can be held out" in caplog.text


def test_one_training_image(make_config):
    summary = run(make_config("datamodule.limit_images=1"))
    assert summary["n_train"] == 1
    assert "threshold" not in summary
    with pytest.raises(FeatureError, match="at least 2"):
        run(make_config("datamodule.limit_images=1", "augmentation.max_images=0"))


def test_more_components_than_images(make_config):
    with pytest.raises(ConfigError, match="more than the 15 directions"):
        run(make_config("reducer.n_components=100", "augmentation.max_images=0"))


def test_mixed_images_are_handled(make_config, mvtec):
    folder = mvtec / "part/train/good"
    grey = Image.open(folder / "000.png")
    grey.resize((50, 20)).save(folder / "000.png")
    grey.convert("RGBA").save(folder / "001.png")
    grey.convert("P").save(folder / "002.png")
    wide = np.asarray(grey).astype(np.uint16) * 257
    Image.fromarray(wide).save(folder / "003.png")
    assert run(make_config())["n_train"] == 16


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_checkpoint_that_is_none(make_config, tmp_path, content):
    path = tmp_path / "broken.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.ckpt"):
        run(make_config(f"checkpoint={path}"))


TOGETHER = (
    "model=scattering_resnet18",
    "model.backbones.resnet18.weights=random",
    "model.backbones.resnet18.image_size=32",
    "model.backbones.scattering.image_size=32",
    "model.backbones.scattering.n_scales=2",
)


@pytest.mark.parametrize("scoring", ["paper", "topk"])
def test_backbones_work_together(make_config, scoring, mvtec, output_dir):
    summary = run(make_config(f"scoring={scoring}", model=TOGETHER))
    half = "" if scoring == "paper" else "scattering.order2_half+"
    assert summary["layers"] == f"{half}scattering.order2+resnet18.layer2+resnet18.layer3"
    assert summary["image_auroc"] > 0.9
    again = run(make_config(f"checkpoint={output_dir}"))
    assert again["image_auroc"] == summary["image_auroc"]


def test_backbones_with_different_sizes_are_refused(make_config):
    with pytest.raises(ConfigError, match="image_size"):
        run(make_config("model.backbones.scattering.image_size=64", model=TOGETHER))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("reducer", ["pca", pytest.param("tae", marks=pytest.mark.slow)])
def test_tiles_have_subspaces_of_their_own_or_one(make_config, shared, reducer):
    tiles = ("tiling.grid=[2,2]", "tiling.overlap=0.25", f"tiling.shared={shared}")
    summary = run(
        make_config(
            *tiles,
            f"reducer={reducer}",
            "reducer.epochs=20" * (reducer == "tae") or "seed=0",
            "model.image_size=16",
            "model.layers=order2",
        )
    )
    assert summary["image_size"] == [28, 28]
    assert shared == ("n_components_each" not in summary)
    assert summary["image_auroc"] > 0.8
    assert summary["pixel_auroc"] > 0.8


@pytest.mark.parametrize("reducer", ["pca", "tae", pytest.param("ae", marks=pytest.mark.slow)])
def test_blocks_have_subspaces_of_their_own(make_config, output_dir, reducer):
    epochs = [] if reducer == "pca" else ["reducer.epochs=20"]
    settings = "tiling.blocks=[2,2]", f"reducer={reducer}", "model.image_size=32", *epochs
    summary = run(make_config(*settings, "model.layers=order2"))
    assert len(summary["n_components_each"]) == 4
    assert summary["image_auroc"] > 0.9
    again = run(make_config(f"checkpoint={output_dir}"))
    assert again["image_auroc"] == summary["image_auroc"]
    assert again["threshold"] == summary["threshold"]


def test_an_unknown_metrics_size(make_config):
    with pytest.raises(ConfigError, match="image, mask"):
        run(make_config("metrics.size=screen"))


def test_named_groups_are_held_out_together(make_config, tmp_path, mvtec, caplog):
    names = sorted(path.name for path in (mvtec / "part" / "train" / "good").iterdir())
    table = tmp_path / "groups.csv"
    rows = (f"{name},{'AB'[index % 2]}" for index, name in enumerate(names))
    table.write_text("\n".join(["path,group", *rows]))
    summary = run(make_config(f"calibration.groups={table}"))
    assert summary["n_groups"] == 2
    assert "2 groups" in caplog.text
    assert summary["threshold"] != run(make_config("calibration.groups=none"))["threshold"]
