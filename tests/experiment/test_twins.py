"""Test images that show the very thing that a training image shows."""

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from fre_lightning.experiment import run
from tests.experiment.conftest import read_scores


def test_a_defective_image_of_a_learnt_part_is_found(make_config, mvtec, output_dir, caplog):
    learnt = mvtec / "part/train/good/003.png"
    pixels = np.array(Image.open(learnt))
    pixels[4:7, 4:7] += 30
    Image.fromarray(pixels).save(mvtec / "part/test/dent/001.png")
    near = run(make_config())["dataset_health"]["near_copies"]
    assert near["test_defective"] == 1
    (twin,) = near["twins"]
    assert twin[:2] == ["part/test/dent/001.png", "part/train/good/003.png"]
    assert near["cosine"] <= twin[2] <= 1
    assert "1 of the 6 defective images show what a good training image shows" in caplog.text
    rows = [row for row in read_scores(output_dir) if row["path"] != twin[0]]
    labels, scores = ([float(row[key]) for row in rows] for key in ("label", "score"))
    np.testing.assert_allclose(near["image_auroc_without_twins"], roc_auc_score(labels, scores))
    report = (output_dir / "report.html").read_text()
    assert "1 defective images show what a good training image shows" in report


def test_other_parts_are_no_twins(make_config):
    near = run(make_config())["dataset_health"]["near_copies"]
    assert (near["test_good"], near["test_defective"], near["twins"]) == (0, 0, [])
    assert "image_auroc_without_twins" not in near


def test_full_masks_are_told(make_config, mvtec, caplog):
    Image.new("L", (32, 32), 255).save(mvtec / "part/ground_truth/dent/000_mask.png")
    Image.new("L", (32, 32), 0).save(mvtec / "part/ground_truth/dent/001_mask.png")
    assert run(make_config())["dataset_health"]["masks"] == {"empty": 1, "full": 1}
    assert "mark all of the image" in caplog.text
