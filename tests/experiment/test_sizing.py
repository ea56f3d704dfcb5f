"""Oblong images: the size that a run finds for them, and what that size goes through."""

import csv
import logging

import numpy as np
import pytest
from PIL import Image

import fre_lightning
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.errors import ConfigError
from fre_lightning.experiment import run
from fre_lightning.experiment.sizing import with_image_size
from fre_lightning.images.header import Header
from fre_lightning.predict.job import run as predict
from tests.configs import compose_config
from tests.conftest import TINY_MODEL
from tests.experiment.conftest import SEVERAL, read_scores
from tests.experiment.test_job import TOGETHER

WIDE = (96, 288)  # of images; 32 x 32 pixels in their ratio and cells of 8 are 16 x 56


@pytest.fixture
def oblong(mvtec):
    """The images and masks of `mvtec` stretched to `WIDE`."""
    for path in mvtec.rglob("*.png"):
        Image.open(path).resize(WIDE[::-1], Image.Resampling.NEAREST).save(path)
    return mvtec


def headers(*sizes):
    return [None if size is None else Header(size, "L", 8, "PNG") for size in sizes]


@pytest.mark.parametrize(
    ("overrides", "sizes", "size"),
    [
        ((), [(100, 300)], [160, 448]),  # cells of 32, of images of half the size
        ((), [None, (300, 100), (300, 100), (100, 100)], [448, 160]),
        (("model.layers=order2",), [(100, 300)], [144, 448]),  # cells of 16
        (("model=resnet18", "model.weights=random"), [(100, 300)], [144, 448]),
        (("tiling.grid=[1,3]",), [(100, 300)], 256),  # tiles are square
        (("tiling.grid=[1,2]",), [(100, 300)], [224, 320]),  # tiles of 209.0 x 313.5
        (("tiling.grid=[1,2]", "tiling.overlap=0.5"), [(100, 300)], [192, 352]),  # 181.0 x 362.0
        (("model.image_size=[256,256]",), [(100, 300)], [256, 256]),
        ((), [(100, 130)], 256),
        ((), [None], 256),
        (("aspect=square",), [(100, 300)], 256),
    ],
)
def test_sizes_found_from_headers(overrides, sizes, size):
    cfg = compose_config("model=scattering", "aspect=keep", *overrides)
    assert with_image_size(cfg, headers(*sizes)).model.image_size == size


def test_backbones_that_are_combined_get_the_same_size():
    cfg = compose_config("aspect=keep", *TOGETHER)
    found = with_image_size(cfg, headers((10, 40)))
    assert [part.image_size for part in found.model.backbones.values()] == [[16, 64], [16, 64]]
    assert cfg.model.backbones.resnet18.image_size == 32  # the caller's is left alone


def test_an_unknown_aspect_is_refused_before_anything_is_read(make_config):
    with pytest.raises(ConfigError, match=r"aspect=long is unknown; choose one of square, keep"):
        run(make_config("aspect=long", "dataset.root=nowhere"))


@pytest.mark.parametrize("side", [0, -8])
def test_a_side_of_no_pixels_is_refused(side):
    cfg = compose_config("model=scattering", "aspect=keep", f"model.image_size={side}")
    with pytest.raises(ConfigError, match=f"image_size must be .* got {side}"):
        with_image_size(cfg, headers((100, 300)))


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        (TINY_MODEL, ["heatmaps=true", "blind_spots=true"]),
        (TINY_MODEL, ["scoring=paper", "reducer=tae", "reducer.epochs=20"]),
        (TINY_MODEL, ["tiling.grid=[1,2]", "tiling.overlap=0.25"]),
        pytest.param(TINY_MODEL, ["metrics.size=mask"], marks=pytest.mark.slow),
        pytest.param(SEVERAL, [], marks=pytest.mark.slow),
    ],
    ids=["plain", "paper", "tiles", "masks", "network"],
)
def test_a_run_a_detector_and_predict_agree(
    oblong, make_config, output_dir, caplog, model, overrides
):
    caplog.set_level(logging.INFO)
    summary = run(make_config("aspect=keep", *overrides, model=model))
    height, width = summary["image_size"]
    assert 2 <= width / height <= 4
    assert f"3.0 times as wide as high, and seen at {height}x{width}" in caplog.text
    assert summary["image_auroc"] > 0.8
    stored = read_checkpoint(output_dir).config["model"]["image_size"]
    n_tiles_wide = 1.75 if "tiling.grid=[1,2]" in overrides else 1  # two, less a quarter
    assert (height, width) == (stored[0], stored[1] * n_tiles_wide)
    rows = read_scores(output_dir)
    detector = fre_lightning.load(output_dir)
    assert detector.image_size == (height, width)
    results = [detector(oblong / row["path"]) for row in rows]
    expected = [float(row["score"]) for row in rows]
    np.testing.assert_allclose([result.score for result in results], expected, rtol=1e-4)
    assert results[-1].anomaly_map.shape == (height, width)
    assert results[-1].map_at_image_size().shape == results[-1].image_size == WIDE
    assert run(make_config(f"checkpoint={output_dir}"))["image_auroc"] == summary["image_auroc"]


@pytest.mark.parametrize("several", [False, True], ids=["one", "each"])
def test_regions_of_oblong_images(oblong, make_config, output_dir, tmp_path, several):
    """The right half of all images, or of each."""
    roi = tmp_path / "roi"
    right = np.zeros(WIDE, np.uint8)
    right[:, WIDE[1] // 2 :] = 255
    for path in oblong.glob("part/t*/*/*.png") if several else [oblong / "region.png"]:
        target = roi / path.relative_to(oblong) if several else path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(right).save(target)
    given = f"dataset.roi={roi if several else oblong / 'region.png'}"
    summary = run(make_config("aspect=keep", given))
    assert (summary["image_size"], summary["region_share"]) == ([16, 56], 0.5)
    row = read_scores(output_dir)[-1]
    result = fre_lightning.load(output_dir)(oblong / row["path"])
    assert result.score == pytest.approx(float(row["score"]), 1e-4)
    assert (result.anomaly_map[:, :28] == 0).all()
    assert (result.anomaly_map[:, 28:] > 0).any()


def test_the_command_predict_says_what_the_run_said(oblong, make_config, output_dir, tmp_path):
    run(make_config("aspect=keep"))
    options = [f"checkpoint={output_dir}", f"input={oblong / 'part/test'}", "device=cpu"]
    out = tmp_path / "out"
    predict(compose_config(*options, f"paths.output_dir={out}", "heatmaps=true", primary="predict"))
    with (out / "predictions.csv").open() as stream:
        found = {row["path"]: float(row["score"]) for row in csv.DictReader(stream)}
    for row in read_scores(output_dir):
        assert found[str(oblong / row["path"])] == pytest.approx(float(row["score"]), 1e-4)


def test_features_of_another_size_are_not_taken_from_the_cache(oblong, make_config, caplog):
    run(make_config())
    caplog.set_level(logging.INFO)
    run(make_config("aspect=keep"))
    assert "16 train images: computed" in caplog.text
    caplog.clear()
    run(make_config("model.image_size=[16,56]"))
    assert "16 train images: read from the cache" in caplog.text
