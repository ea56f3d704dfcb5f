"""The map of blind spots of a run: what is written, against the detector's own judgement."""

import json

import numpy as np
import pytest
from PIL import Image

import fre_lightning
from fre_lightning.experiment import run
from fre_lightning.metrics.blind_spots import CONTRASTS, draw_spots
from tests.experiment.conftest import read_scores

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_spots_of_that_contrast_are_noticed_by_the_detector(make_config, output_dir, mvtec):
    summary = run(make_config("blind_spots=true", "false_alarm_rate=0.2"))
    found = json.loads((output_dir / "blind_spots.json").read_text())
    assert found["image_size"] == [32, 32]
    assert found["threshold"] == summary["threshold"]
    assert np.shape(found["contrast"]) == (8, 8)
    assert "notice none" in (output_dir / "report.html").read_text()

    good = [row for row in read_scores(output_dir) if row["label"] == "0"]
    median = np.sort([float(row["score"]) for row in good])[(len(good) - 1) // 2]
    good = [row for row in good if float(row["score"]) <= summary["threshold"]]
    usual = sorted(good, key=lambda row: abs(float(row["score"]) - median))[:3]
    images = [np.asarray(Image.open(mvtec / row["path"])).astype(np.float64) for row in usual]
    detector = fre_lightning.load(output_dir, device="cpu", false_alarm_rate=0.2)
    spots = draw_spots(32, 32, 8).numpy()
    for index in (0, 27, 63):
        first = [first_noticed(detector, image, spots[index]) for image in images]
        expected = np.sort(first)[(len(first) - 1) // 2]
        contrast = found["contrast"][index // 8][index % 8]
        assert (contrast or np.inf) == pytest.approx(expected, abs=0.06)

    run(make_config())
    assert not (output_dir / "blind_spots.json").exists()  # it would be another run's
    assert not (output_dir / "blind_spots.webp").exists()


def first_noticed(detector, image, spot):
    """By trying all contrasts."""
    level = (spot * image).sum() / spot.sum()
    for contrast in CONTRASTS:
        changed = image + (contrast if level < 127.5 else -contrast) * spot
        if detector(np.clip(np.rint(changed), 0, 255).astype(np.uint8)).is_defective:
            return contrast
    return np.inf


def test_where_an_image_does_not_count_none_is_noticed(make_config, output_dir, mvtec, tmp_path):
    roi = tmp_path / "roi"
    for i, path in enumerate(sorted(mvtec.glob("part/t*/*/*.png"))):
        region = np.full((32, 32), 255, np.uint8)
        if path.parents[1].name == "test" or i % 2:
            region[:, 16:] = 0
        (roi / path.relative_to(mvtec)).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(region).save(roi / path.relative_to(mvtec))
    run(make_config("blind_spots=true", "false_alarm_rate=0.2", f"dataset.roi={roi}"))
    contrast = json.loads((output_dir / "blind_spots.json").read_text())["contrast"]
    noticed = np.array([[c is not None for c in row] for row in contrast])
    assert noticed[:, :3].any()
    assert not noticed[:, 6:].any()


def test_without_good_images_it_is_said(make_config, output_dir, mvtec, caplog):
    for path in (mvtec / "part/test/good").iterdir():
        path.unlink()
    run(make_config("blind_spots=true"))
    assert "No map of blind spots" in caplog.text
    assert not (output_dir / "blind_spots.json").exists()
