"""Images of more than 8 bits, from training to a detector."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

import fre_lightning
from fre_lightning.experiment import run
from fre_lightning.images.intensity import Intensity
from tests.experiment.conftest import read_scores


def test_12_bits_score_as_the_same_images_of_8(make_config, mvtec, output_dir, request):
    expected = run(make_config())
    before = [float(row["score"]) for row in read_scores(output_dir)]
    assert "intensity" not in expected
    request.getfixturevalue("deep_mvtec")
    summary = run(make_config())
    assert summary["intensity"] == {"low": 0.0, "high": 4095.0, "deep_only": True}
    assert "n_outside_intensity" not in summary
    after = [float(row["score"]) for row in read_scores(output_dir)]
    np.testing.assert_allclose(after, before, rtol=1e-5)  # 16 of 4095 stand for one of 255
    assert summary["image_auroc"] == expected["image_auroc"]


def test_a_detector_takes_its_images_in_any_form(make_config, deep_mvtec, output_dir):
    run(make_config())
    scores = {row["path"]: float(row["score"]) for row in read_scores(output_dir)}
    detector = fre_lightning.load(output_dir, device="cpu")
    assert detector.intensity == Intensity(0, 4095, deep_only=True)
    path = deep_mvtec / "part/test/spot/001.png"
    expected = pytest.approx(scores["part/test/spot/001.png"], rel=1e-6)
    values = np.array(Image.open(path))
    assert detector(path).score == expected
    assert detector(Image.open(path)).score == expected
    assert detector(values).score == expected
    assert detector(values.astype(np.float32)).score == expected
    assert detector(np.repeat(values[..., None], 3, axis=2).astype(np.int32)).score == expected
    colours = path.with_suffix(".tif")
    colours.write_bytes(imagecodecs.tiff_encode(np.repeat(values[..., None], 3, axis=2)))
    assert detector(colours).score == expected


def test_the_range_decides_what_is_learnt_and_cached(make_config, deep_mvtec, output_dir):
    thresholds = {}
    for setting in ("auto", "[0,4095]", "[1000,3000]", "{percentile:[5,95]}", "auto"):
        summary = run(make_config(f"dataset.intensity={setting}"))
        thresholds.setdefault(setting, summary["threshold"])
    assert summary["threshold"] == thresholds["auto"] == thresholds["[0,4095]"]
    assert len(set(thresholds.values())) == 3


def test_a_brighter_camera_is_counted(make_config, deep_mvtec, output_dir, caplog):
    for name in ("000", "001"):
        path = deep_mvtec / f"part/test/good/{name}.png"
        Image.fromarray(np.array(Image.open(path)) * np.uint16(4)).save(path)
    assert run(make_config())["n_outside_intensity"] == 2
    assert "outside of 0 to 4095" in caplog.text
