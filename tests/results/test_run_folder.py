import csv
import math
from pathlib import Path

from fre_lightning.datasets import Sample
from fre_lightning.results import run_folder


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_scores_name_images_within_the_dataset(tmp_path):
    samples = [
        Sample(Path("/data/part/test/good/a,b.png"), "good"),
        Sample(Path("/elsewhere/c.png"), "dent"),
    ]
    run_folder.write_scores(tmp_path, samples, [0.1, 1234567890.5], Path("/data"))
    assert read(tmp_path / "scores.csv") == [
        {"path": "part/test/good/a,b.png", "label": "0", "defect_type": "good", "score": "0.1"},
        {"path": "elsewhere/c.png", "label": "1", "defect_type": "dent", "score": "1.23456789e+09"},
    ]


def test_what_is_not_defined_is_empty(tmp_path):
    rows = [{"defect_type": "dent", "n_images": 3, "image_auroc": 0.5, "pixel_auroc": math.nan}]
    run_folder.write_defect_types(tmp_path, rows)
    (row,) = read(tmp_path / "defect_types.csv")
    assert row == {
        "defect_type": "dent",
        "n_images": "3",
        "image_auroc": "0.500000",
        "pixel_auroc": "",
    }
    run_folder.write_defect_types(tmp_path, [])
    assert read(tmp_path / "defect_types.csv") == []
