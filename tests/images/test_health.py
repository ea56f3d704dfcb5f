"""Flaws of datasets that are told before anything is learnt."""

import shutil

import numpy as np
import pytest
from PIL import Image

from fre_lightning.datasets import Sample, Splits
from fre_lightning.errors import DatasetError
from fre_lightning.images.header import read_headers
from fre_lightning.images.health import examine, log_health

RNG = np.random.default_rng(0)


def look(splits, root):
    paths = [sample.path for sample in (*splits.train, *splits.test)]
    return examine(splits, read_headers(paths, 2), root)


@pytest.fixture
def dataset(tmp_path):
    """A healthy dataset: 4 images to learn from, 2 good and 2 defective ones to test on."""

    def draw(folder, n, defect_type):
        samples = []
        for index in range(n):
            path = tmp_path / folder / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RNG.integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(path)
            samples.append(Sample(path, defect_type))
        return samples

    train = draw("good", 4, "good")
    test = draw("test", 2, "good") + draw("dent", 2, "dent")
    return Splits(train, test, has_masks=False)


def test_a_healthy_dataset_takes_one_line(dataset, tmp_path, caplog):
    caplog.set_level("INFO")
    health = look(dataset, tmp_path)
    assert health == {
        "images": {"train": 4, "test/good": 2, "test/dent": 2},
        "n_sizes": 1,
        "sizes": {"9x8": 8},
        "kinds": {"RGB of 8 bits": 8},
        "copies": [],
        "left_out": {"files": {}, "folders": []},
        "warnings": [],
    }
    log_health(health)
    (line,) = caplog.messages
    assert line == "4 training images, to test on: 2 good, 2 dent. 9x8; RGB of 8 bits"


def replace(sample, mode):
    Image.open(sample.path).convert(mode).save(sample.path)


def test_kinds_that_differ_are_told(dataset, tmp_path):
    replace(dataset.test[0], "L")
    (warning,) = look(dataset, tmp_path)["warnings"]
    assert "not learnt: 1 L of 8 bits (learnt: RGB of 8 bits)" in warning
    replace(dataset.train[0], "L")
    (warning,) = look(dataset, tmp_path)["warnings"]
    assert "several kinds: 3 RGB of 8 bits, 1 L of 8 bits" in warning


def test_copies_are_told_by_what_they_spoil(dataset, tmp_path):
    shutil.copy(dataset.train[0].path, dataset.train[1].path)
    shutil.copy(dataset.train[2].path, dataset.test[1].path)
    shutil.copy(dataset.test[0].path, dataset.test[3].path)
    health = look(dataset, tmp_path)
    assert health["copies"] == [
        ["good/0.png", "good/1.png"],
        ["good/2.png", "test/1.png"],
        ["test/0.png", "dent/1.png"],
    ]
    within, leaked, contradiction = health["warnings"]
    assert "1 training images are copies" in within
    assert "1 of the 4 test images are copies of training images" in leaked
    assert "test/1.png" in leaked
    assert "1 images are both good and defective: test/0.png, dent/1.png" in contradiction


def test_a_test_on_the_training_images_is_refused(dataset, tmp_path):
    splits = Splits(dataset.train, [Sample(s.path) for s in dataset.train[:2]], has_masks=False)
    for sample in dataset.test:
        shutil.copy(dataset.train[0].path, sample.path)
    for tested in (dataset, splits):
        with pytest.raises(DatasetError, match="copies of training images"):
            look(tested, tmp_path)


def test_what_is_left_out_and_what_cannot_be_read(dataset, tmp_path, caplog):
    (tmp_path / "good/notes.txt").touch()
    (tmp_path / "good/@eaDir").mkdir()
    dataset.train[3].path.write_bytes(b"no image")
    health = look(dataset, tmp_path)
    assert health["kinds"] == {"RGB of 8 bits": 7}
    caplog.set_level("INFO")
    log_health(health)
    assert "1 files of other kinds were left out: .txt" in caplog.text
    assert "Folders that were left out: @eaDir" in caplog.text
