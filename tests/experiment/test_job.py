"""Whole runs on tiny images, through `run`."""

import csv
import json
import logging
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fre_lightning.backbones import Scattering
from fre_lightning.detector.model import FREModel
from fre_lightning.errors import CheckpointError, ConfigError, DatasetError, FeatureError
from fre_lightning.experiment import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def output_dir(tmp_path):
    return tmp_path / "run"


def read_scores(folder):
    with (folder / "scores.csv").open() as stream:
        return list(csv.DictReader(stream))


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


@pytest.mark.parametrize("reducer", ["tae", "ae"])
def test_autoencoders_end_like_pca(make_config, reducer):
    pca = run(make_config("reducer=pca"))
    summary = run(make_config(f"reducer={reducer}", "reducer.batch_size=4"))
    assert summary["n_components"] == pca["n_components"]
    assert summary["image_auroc"] == pytest.approx(pca["image_auroc"], abs=0.1)


def test_another_reducer_computes_no_feature(make_config, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    run(make_config("reducer=pca"))
    assert "16 train images: computed" in caplog.text
    caplog.clear()

    def forward(self, images):
        pytest.fail("the backbone was called")

    monkeypatch.setattr(Scattering, "forward", forward)
    run(make_config("reducer=tae", "reducer.epochs=2"))
    assert "16 train images: read from the cache" in caplog.text
    assert "11 test images: read from the cache" in caplog.text


@pytest.mark.parametrize("change", ["model.n_scales=1", "model.image_size=[32,48]", "model.pool=2"])
def test_what_changes_features_computes_them_anew(make_config, caplog, change):
    run(make_config())
    caplog.set_level(logging.INFO)
    run(make_config(change))
    assert "16 train images: computed" in caplog.text


def test_a_changed_image_is_noticed(make_config, mvtec, caplog):
    run(make_config())
    path = mvtec / "part/train/good/003.png"
    Image.open(path).rotate(90).save(path)
    caplog.set_level(logging.INFO)
    run(make_config())
    assert "16 train images: computed" in caplog.text
    assert "11 test images: read from the cache" in caplog.text


@pytest.mark.parametrize(
    ("reducer", "scoring"),
    [
        ("ae", "paper"),
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


def test_tensorboard_holds_metrics_losses_pictures_curves_and_hparams(make_config, output_dir):
    summary = run(make_config("reducer=tae", "reducer.epochs=7"))
    events = EventAccumulator(str(output_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert events.Scalars("test/image_auroc")[-1].value == pytest.approx(summary["image_auroc"])
    losses = [event.value for event in events.Scalars("train/loss")]
    assert len(losses) == 7
    assert losses[-1] < losses[0]
    assert {tag.split("/")[0] for tag in tags["images"]} == {"good", "dent", "spot", "roc"}
    assert {"pr/image", "pr/pixel"} <= set(tags["tensors"])
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"reducer/epochs" in content
    assert events.Scalars("final/image_auroc")[-1].value == pytest.approx(summary["image_auroc"])


def test_random_weights_are_named(make_config, capsys):
    model = ("model=resnet18", "model.weights=random", "model.image_size=64")
    summary = run(make_config(model=model))
    assert summary["weights"] == "random (seed 0)"
    assert "random weights!" in capsys.readouterr().out


def test_debug_is_fast_and_logs_nothing(make_config, output_dir):
    summary = run(make_config("debug=default", "reducer=ae"))
    assert (summary["n_train"], summary["tags"]) == (8, ["debug"])
    assert not (output_dir / "tensorboard").exists()


# --- what can be wrong


def test_an_unreadable_image_is_named(make_config, mvtec):
    path = mvtec / "part/train/good/004.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"004\.png.*skip_unreadable"):
        run(make_config())


def test_unreadable_images_are_left_out_if_so_told(make_config, mvtec, output_dir, caplog):
    for name in ("train/good/004.png", "test/spot/001.png"):
        (mvtec / "part" / name).write_text("no image")
    summary = run(make_config("dataset.skip_unreadable=true"))
    assert (summary["n_train"], summary["n_test"]) == (15, 10)
    assert "004.png" in caplog.text
    assert len(read_scores(output_dir)) == 10
    with pytest.raises(DatasetError, match=r"004\.png"):  # also when the others are cached
        run(make_config())


def test_a_missing_mask(make_config, mvtec):
    (mvtec / "part/ground_truth/dent/001_mask.png").unlink()
    with pytest.raises(DatasetError, match="001"):
        run(make_config())


def test_a_mask_of_another_size(make_config, mvtec):
    path = mvtec / "part/ground_truth/dent/001_mask.png"
    Image.open(path).resize((16, 16)).save(path)
    with pytest.raises(DatasetError, match="16x16"):
        run(make_config())


def test_an_empty_mask_is_warned_of_and_counted(make_config, mvtec, caplog):
    Image.new("L", (32, 32)).save(mvtec / "part/ground_truth/dent/001_mask.png")
    for _ in range(2):  # from the cache, too
        caplog.clear()
        run(make_config())
        assert "1 of the 6 masks" in caplog.text


@pytest.mark.parametrize("gone", [["good"], ["dent", "spot"]])
def test_metrics_that_are_undefined_are_left_out(make_config, mvtec, caplog, gone):
    for name in gone:
        shutil.rmtree(mvtec / "part/test" / name)
    summary = run(make_config())
    assert "image_auroc" not in summary
    assert "Left out" in caplog.text
    assert not any(math.isnan(v) for v in summary.values() if isinstance(v, float))


def test_without_masks_there_are_no_pixel_metrics(make_config, mvtec):
    shutil.rmtree(mvtec / "part/ground_truth")
    summary = run(make_config())
    assert "image_auroc" in summary
    assert "pixel_auroc" not in summary


def test_without_test_images_the_detector_is_stored(make_config, mvtec, output_dir):
    shutil.rmtree(mvtec / "part/test")
    shutil.rmtree(mvtec / "part/ground_truth")
    assert run(make_config())["n_test"] == 0
    assert (output_dir / "model.ckpt").is_file()


def test_two_training_images_are_scored_without_holding_one_out(make_config, caplog):
    run(make_config("datamodule.limit_images=2", "scoring=topk"))
    assert "With 2 training images none can be held out" in caplog.text


@pytest.mark.parametrize("scoring", ["paper", "topk"])
def test_the_threshold_comes_from_training_images_alone(make_config, output_dir, scoring, mvtec):
    summary = run(make_config("false_alarm_rate=0.2", f"scoring={scoring}"))
    rows = read_scores(output_dir)
    called = [float(row["score"]) > summary["threshold"] for row in rows]
    labels = [row["label"] == "1" for row in rows]
    assert summary["accuracy"] == np.mean(np.equal(called, labels))
    assert summary["recall"] == np.mean([c for c, bad in zip(called, labels, strict=True) if bad])
    for path in (mvtec / "part/test").glob("*/*.png"):  # other test images, same threshold
        Image.open(path).rotate(90).save(path)
    shutil.rmtree(mvtec / "part/ground_truth")
    again = run(make_config("false_alarm_rate=0.2", f"scoring={scoring}"))
    assert again["threshold"] == summary["threshold"]


def test_a_rate_that_too_few_images_can_show_is_extrapolated(make_config, caplog):
    summary = run(make_config("false_alarm_rate=0.01"))
    assert "takes 99 training images" in caplog.text
    assert summary["threshold"] > 0
    with pytest.raises(ConfigError, match="false_alarm_rate"):
        run(make_config("false_alarm_rate=2"))


def test_one_training_image(make_config):
    summary = run(make_config("datamodule.limit_images=1"))
    assert summary["n_train"] == 1
    assert "threshold" not in summary
    with pytest.raises(FeatureError, match="at least 2"):
        run(make_config("datamodule.limit_images=1", "augmentation.max_images=0"))


def test_more_components_than_images(make_config):
    with pytest.raises(ConfigError, match="more than the 15 directions"):
        run(make_config("reducer.n_components=100", "augmentation.max_images=0"))


def test_nan_in_features_names_the_image(make_config, monkeypatch):
    features_of = FREModel.features_of

    def broken(self, images):
        return [f.index_fill(0, torch.tensor([2]), torch.nan) for f in features_of(self, images)]

    monkeypatch.setattr(FREModel, "features_of", broken)
    with pytest.raises(FeatureError, match=r"002\.png"):
        run(make_config())


def test_several_devices_are_refused(make_config):
    with pytest.raises(ConfigError, match="one device"):
        run(make_config("trainer.devices=2"))


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


SEVERAL = ("model=resnet18", "model.weights=random", "model.image_size=64")
TOGETHER = (
    "model=scattering_resnet18",
    "model.backbones.resnet18.weights=random",
    "model.backbones.resnet18.image_size=32",
    "model.backbones.scattering.image_size=32",
    "model.backbones.scattering.n_scales=2",
)


def test_adding_a_layer_extracts_only_that_one(make_config, caplog):
    caplog.set_level(logging.INFO)
    run(make_config("model.layers=[layer2]", "model.pool=2", model=SEVERAL))
    summary = run(make_config("model.layers=[layer1,layer2]", "model.pool=[4,2]", model=SEVERAL))
    assert "1 of 2 layers computed" in caplog.text
    assert summary["layers"] == "layer1+layer2"
    assert sum(summary["n_components_each"]) == summary["n_components"]


@pytest.mark.parametrize("scoring", ["paper", "topk"])
def test_backbones_work_together(make_config, scoring, mvtec, output_dir):
    summary = run(make_config(f"scoring={scoring}", model=TOGETHER))
    assert summary["layers"] == "scattering.order2+resnet18.layer2+resnet18.layer3"
    assert summary["image_auroc"] > 0.9
    again = run(make_config(f"checkpoint={output_dir}"))
    assert again["image_auroc"] == summary["image_auroc"]


def test_backbones_with_different_sizes_are_refused(make_config):
    with pytest.raises(ConfigError, match="image_size"):
        run(make_config("model.backbones.scattering.image_size=64", model=TOGETHER))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("reducer", ["pca", "tae"])
def test_tiles_have_subspaces_of_their_own_or_one(make_config, shared, reducer):
    tiles = ("tiling.grid=[2,2]", "tiling.overlap=0.25", f"tiling.shared={shared}")
    summary = run(
        make_config(
            *tiles,
            f"reducer={reducer}",
            "reducer.epochs=20" * (reducer == "tae") or "seed=0",
            "model.image_size=16",
        )
    )
    assert summary["image_size"] == [28, 28]
    assert shared == ("n_components_each" not in summary)
    assert summary["image_auroc"] > 0.8
    assert summary["pixel_auroc"] > 0.8


def test_pixel_metrics_at_mask_size(make_config, mvtec, capsys):
    """Files three times as large as the model's images, of several sizes, with the same content."""
    at_image_size = run(make_config())
    for i, path in enumerate(sorted(mvtec.glob("part/test/*/*.png"))):
        enlarge(path, 3 + i % 2)
    for mask in sorted(mvtec.glob("part/ground_truth/*/*.png")):
        with Image.open(mvtec / "part/test" / mask.parent.name / f"{mask.stem[:3]}.png") as image:
            enlarge(mask, image.width // 32)
    summary = run(make_config("metrics.size=mask"))
    assert summary["pixel_metrics_size"] == "mask"
    assert "each mask's own size, over all 11 test images" in " ".join(
        capsys.readouterr().out.split()
    )
    for name in ("pixel_auroc", "pixel_aupro"):
        assert summary[name] == pytest.approx(at_image_size[name], abs=0.02)
        assert summary[name] != at_image_size[name]


def enlarge(path, factor):
    with Image.open(path) as image:
        image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST).save(
            path
        )


def test_an_unknown_metrics_size(make_config):
    with pytest.raises(ConfigError, match="image, mask"):
        run(make_config("metrics.size=screen"))
