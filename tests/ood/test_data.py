"""Known and unknown images: digits, folders, and what is refused."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from fre_lightning.errors import ConfigError, DatasetError
from fre_lightning.ood.digits import Digits
from fre_lightning.ood.known import ClassFolder
from fre_lightning.ood.unknown import UnknownSets

RNG = np.random.default_rng(0)


def draw(folder, n):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.fromarray(RNG.integers(0, 256, (6, 6), np.uint8)).save(folder / f"{i}.png")


@pytest.fixture
def root(tmp_path):
    for split, n in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            draw(tmp_path / "animals" / split / name, n)
    return tmp_path / "animals"


def test_digits_are_scikit_learns(tmp_path):
    splits = Digits(tmp_path / "digits", 0.25, 0).scan()
    assert splits.classes == list("01234567")
    source = load_digits()
    n_known = int((source.target < 8).sum())
    assert len(splits.train.samples) + len(splits.test.samples) == n_known
    assert len(splits.test.samples) == pytest.approx(n_known / 4, abs=8)
    unknown = sorted((tmp_path / "digits/8_and_9").iterdir())
    assert len(unknown) == (source.target >= 8).sum()
    for path in [unknown[0], splits.test.samples[5].path]:
        levels = np.asarray(Image.open(path)) / 255 * 16
        np.testing.assert_allclose(levels, source.images[int(path.stem)], atol=0.04)
    test = splits.test.samples[0].path
    inverted = np.asarray(Image.open(tmp_path / "digits/inverted" / test.name))
    np.testing.assert_array_equal(255 - inverted, np.asarray(Image.open(test)))
    assert Digits(tmp_path / "digits", 0.25, 0).scan() == splits
    with pytest.raises(DatasetError, match="made with other settings"):
        Digits(tmp_path / "digits", 0.25, 1).scan()


def test_folders_of_classes(root):
    splits = ClassFolder(root).scan()
    assert splits.classes == ["cat", "dog"]
    assert splits.train.labels == [0, 0, 0, 1, 1, 1]
    assert [s.path.parent.name for s in splits.test.samples] == ["cat", "cat", "dog", "dog"]


def test_unknown_sets(root, tmp_path):
    for name in ("near", "far/a", "other/near"):
        draw(tmp_path / name, 4)
    near = [str(tmp_path / "near"), str(tmp_path / "other/near")]
    sets = UnknownSets(near, [str(tmp_path / "far")], ["blur 1"]).scan(ClassFolder(root).scan())
    assert [one.name for one in sets] == [*near, "far", "blur 1"]
    assert [one.kind for one in sets] == ["near", "near", "far", "near"]
    assert [len(one.samples) for one in sets] == [4, 4, 4, 4]
    assert [one.change for one in sets] == [None, None, None, "blur 1"]


def test_known_test_images_that_are_learnt_from_are_told(root, tmp_path, caplog):
    draw(tmp_path / "other", 2)
    sets = UnknownSets([], [str(tmp_path / "other")], [])
    sets.scan(ClassFolder(root).scan())
    assert not caplog.text
    (root / "test/cat/copy.png").write_bytes((root / "train/cat/0.png").read_bytes())
    sets.scan(ClassFolder(root).scan())
    assert "1 of the 5 known test images are copies" in caplog.text


def test_mistakes(root, tmp_path):
    known = ClassFolder(root).scan()
    with pytest.raises(DatasetError, match=r"has 0 sub-folders .* known\.root"):
        ClassFolder(tmp_path / "nowhere").scan()
    with pytest.raises(ConfigError, match="noise 20"):
        UnknownSets([], [], ["noise 2"])
    with pytest.raises(ConfigError, match="Nothing to test on"):
        UnknownSets([], [], [])
    with pytest.raises(DatasetError, match="has no images"):
        UnknownSets([str(tmp_path / "nowhere")], [], []).scan(known)
    copied = (root / "test/dog/1.png").read_bytes()
    draw(tmp_path / "mixed", 2)
    (tmp_path / "mixed/copy.png").write_bytes(copied)
    with pytest.raises(DatasetError, match=r"1 images .* known ones, for example .*copy\.png"):
        UnknownSets([], [str(tmp_path / "mixed")], []).scan(known)
    with pytest.raises(DatasetError, match="4 images of the unknown sets are known ones"):
        UnknownSets([], [str(root / "test")], []).scan(known)
    draw(root / "train/one", 1)
    with pytest.raises(DatasetError, match="only one of them has one"):
        ClassFolder(root).scan()
    draw(root / "test/one", 1)
    with pytest.raises(DatasetError, match="class one has 1 image"):
        ClassFolder(root).scan()
