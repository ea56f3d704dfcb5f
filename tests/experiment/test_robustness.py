"""The table of robustness of a run, against the detector's own judgement of changed images."""

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import fre_lightning
from fre_lightning.experiment import run
from fre_lightning.images.perturbations import PERTURBATIONS
from tests.experiment.conftest import read_scores

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_it_is_what_the_detector_says_of_changed_images(make_config, output_dir, mvtec):
    summary = run(make_config("robustness=true", "false_alarm_rate=0.2"))
    rows = json.loads((output_dir / "robustness.json").read_text())
    assert [*rows] == ["as they are", *PERTURBATIONS]
    assert rows["as they are"]["image_auroc"] == pytest.approx(summary["image_auroc"])
    images = read_scores(output_dir)
    labels = np.array([row["label"] == "1" for row in images])
    detector = fre_lightning.load(output_dir, device="cpu", false_alarm_rate=0.2)
    for name in ("gain +3 %", "jpeg 75", "shift 2"):
        results = []
        for number, row in enumerate(images):
            levels = np.asarray(Image.open(mvtec / row["path"]))
            results.append(detector(PERTURBATIONS[name](levels, np.random.default_rng(number))))
        stopped = np.array([result.is_defective for result in results])
        scores = [result.score for result in results]
        assert rows[name]["stopped"] == pytest.approx(stopped[~labels].mean())
        assert rows[name]["found"] == pytest.approx(stopped[labels].mean())
        assert rows[name]["image_auroc"] == pytest.approx(roc_auc_score(labels, scores))
    page = (output_dir / "report.html").read_text()
    assert "Robustness" in page
    assert "jpeg 85, 4:4:4" in page

    run(make_config())
    assert not (output_dir / "robustness.json").exists()  # it would be another run's
    assert "jpeg 85, 4:4:4" not in (output_dir / "report.html").read_text()


def test_where_an_image_does_not_count_it_says_nothing(make_config, output_dir, mvtec, tmp_path):
    roi = tmp_path / "roi"
    for path in mvtec.glob("part/t*/*/*.png"):
        region = np.full((32, 32), 255, np.uint8)
        if path.parents[1].name == "test":
            region[:, 16:] = 0
            levels = np.array(Image.open(path))
            levels[:, 16:] = 255
            Image.fromarray(levels).save(path)
        (roi / path.relative_to(mvtec)).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(region).save(roi / path.relative_to(mvtec))
    summary = run(make_config(f"dataset.roi={roi}", "robustness=true", "report=false"))
    rows = json.loads((output_dir / "robustness.json").read_text())
    assert rows["as they are"]["image_auroc"] == pytest.approx(summary["image_auroc"])


def test_without_defective_images_there_is_no_auroc(make_config, output_dir, mvtec):
    for path in [*mvtec.glob("part/test/dent/*"), *mvtec.glob("part/test/spot/*")]:
        path.unlink()
    run(make_config("robustness=true"))
    row = json.loads((output_dir / "robustness.json").read_text())["noise 1"]
    assert row["stopped"] is not None
    assert row["found"] is row["image_auroc"] is None
