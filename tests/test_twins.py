"""scripts/twins.py finds test images that show what a good training image shows."""

import csv
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def twins(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module("twins")
    for name in ("twins", "curves"):  # names that anything else might have, too
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path):
    """Twelve good images, and two defective ones: one of a good image's object, one of its own."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (13, 8, 8), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    twin = (images[3] * 0.9).astype(np.uint8)  # less light, and a spot
    twin[31:33, 31:33] = 255
    for name in ("good", "spot"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for index, image in enumerate(images[:12]):
        Image.fromarray(image).save(tmp_path / f"data/good/{index}.png")
    for name, image in (("twin", twin), ("other", images[12])):
        Image.fromarray(image).save(tmp_path / f"data/spot/{name}.png")
    return tmp_path


def test_an_objects_other_photograph_is_its_twin(twins, folder):
    found = twins.find_nearest(
        [
            "model=scattering",
            "model.image_size=64",
            "dataset=folder",
            f"dataset.root={folder / 'data'}",
            "dataset.test_fraction=0.1",
            f"paths.cache_dir={folder / 'cache'}",
            "trainer=cpu",
        ]
    )
    defective = {twin.test.path.stem: twin for twin in found if twin.test.label}
    assert set(defective) == {"twin", "other"}
    is_learnt = defective["twin"].train.path.stem == "3"
    assert is_learnt, "image 3 must be in the training split, or this shows nothing"
    assert defective["twin"].cosine > 0.6
    assert max(twin.cosine for twin in found if twin.test.path.stem != "twin") < 0.5


def test_nearest_rows_by_hand(twins):
    train = np.array([[3.0, 0.0], [0.0, 3.0], [-3.0, -3.0]], np.float32)  # of mean 0
    test = np.array([[-1.0, -1.0], [0.0, 0.1]], np.float32)
    cosines, nearest = twins.nearest_rows(*map(twins.torch.from_numpy, (train, test)))
    assert nearest.tolist() == [2, 1]
    assert cosines.tolist() == pytest.approx([1.0, 1.0])


def test_auroc_without_some_is_scikit_learns(twins, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    scores = rng.normal(size=40) + labels
    with (tmp_path / "scores.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "defect_type", "score"])
        for index in range(40):
            writer.writerow([f"test/{index}.png", labels[index], "any", scores[index]])
    whole, without = twins.compare_auroc(tmp_path / "scores.csv", {"1.png", "3.png"})
    kept = ~np.isin(np.arange(40), [1, 3])
    assert whole == pytest.approx(roc_auc_score(labels, scores), abs=1e-4)
    assert without == pytest.approx(roc_auc_score(labels[kept], scores[kept]), abs=1e-4)
