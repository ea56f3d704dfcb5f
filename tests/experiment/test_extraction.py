import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from fre_lightning.backbones import Scattering
from fre_lightning.detector.model import FREModel
from fre_lightning.errors import DatasetError, FeatureError
from fre_lightning.experiment import run
from fre_lightning.experiment.extraction import ImageSet
from tests.experiment.conftest import SEVERAL, read_scores


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


def test_content_counts_where_name_size_and_time_are_equal(make_config, mvtec, caplog):
    path = mvtec / "part/train/good/003.bmp"
    image = Image.open(path.with_suffix(".png"))
    image.save(path)
    os.utime(path, ns=(0, 0))
    run(make_config())
    before = path.stat()
    image.rotate(180).save(path)
    os.utime(path, ns=(0, 0))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, 0)
    caplog.set_level(logging.INFO)
    run(make_config())
    assert "17 train images: computed" in caplog.text
    assert "11 test images: read from the cache" in caplog.text


def test_nan_in_features_names_the_image(make_config, monkeypatch):
    features_of = FREModel.features_of

    def broken(self, images):
        return [f.index_fill(0, torch.tensor([2]), torch.nan) for f in features_of(self, images)]

    monkeypatch.setattr(FREModel, "features_of", broken)
    with pytest.raises(FeatureError, match=r"002\.png"):
        run(make_config())


def test_half_precision_takes_half_the_disk_and_hardly_moves_scores(
    make_config, caplog, output_dir
):
    run(make_config())
    single = [float(row["score"]) for row in read_scores(output_dir)]
    cache_dir = Path(make_config().paths.cache_dir)
    n_bytes = shard_bytes(cache_dir)
    caplog.set_level(logging.INFO)
    run(make_config("cache.dtype=float16"))
    assert "16 train images: computed" in caplog.text
    half = [float(row["score"]) for row in read_scores(output_dir)]
    assert half == pytest.approx(single, rel=5e-3)
    assert half != single
    assert shard_bytes(cache_dir) - n_bytes == pytest.approx(n_bytes / 2, rel=0.05)


def shard_bytes(cache_dir):
    """Of features, not of masks."""
    return sum(path.stat().st_size for path in cache_dir.glob("*scattering*/shard-*.npy"))


def test_features_too_large_for_half_precision(make_config, monkeypatch):
    features_of = FREModel.features_of
    monkeypatch.setattr(FREModel, "features_of", lambda *a: [f + 1e6 for f in features_of(*a)])
    with pytest.raises(FeatureError, match=r"cache\.dtype=float32"):
        run(make_config("cache.dtype=float16"))


def test_adding_a_layer_extracts_only_that_one(make_config, caplog):
    caplog.set_level(logging.INFO)
    run(make_config("model.layers=[layer2]", "model.pool=2", model=SEVERAL))
    summary = run(make_config("model.layers=[layer1,layer2]", "model.pool=[4,2]", model=SEVERAL))
    assert "1 of 2 layers computed" in caplog.text
    assert summary["layers"] == "layer1+layer2"
    assert sum(summary["n_components_each"]) == summary["n_components"]


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


def test_many_tiles_are_fewer_images_at_a_time():
    images = ImageSet("name", "images", [], Path(), 32, 1)
    for n_tiles, batch_size in ((1, 32), (4, 8), (100, 1)):
        tiling = SimpleNamespace(n_tiles=n_tiles)
        model = SimpleNamespace(image_size=(8, 8), tiling=tiling, intensity=None)
        assert images.loader(model).batch_size == batch_size
