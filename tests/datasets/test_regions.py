import pytest

from fre_lightning.datasets import Sample, Splits
from fre_lightning.datasets.regions import RegionFolder, attach_regions
from fre_lightning.errors import DatasetError
from tests.datasets.files import save_images


@pytest.fixture
def splits(tmp_path):
    root = tmp_path / "parts"
    save_images(root / "good", "1.png", "2.png")
    save_images(root / "scratch", "1.jpg")
    good, bad = root / "good", root / "scratch"
    return Splits(
        [Sample(good / "1.png")], [Sample(good / "2.png"), Sample(bad / "1.jpg", "s")], True
    )


def test_a_folder_has_a_region_for_each_image(splits, tmp_path):
    save_images(tmp_path / "roi/good", "1.png", "2.bmp")
    save_images(tmp_path / "roi/scratch", "1.png")
    found = attach_regions(splits, tmp_path / "roi", tmp_path / "parts")
    names = [s.region_path.relative_to(tmp_path).as_posix() for s in (*found.train, *found.test)]
    assert names == ["roi/good/1.png", "roi/good/2.bmp", "roi/scratch/1.png"]
    assert [s.path for s in found.test] == [s.path for s in splits.test]
    assert found.has_masks


def test_a_file_or_nothing_is_for_all_images(splits, tmp_path):
    for roi in (None, splits.train[0].path):
        assert attach_regions(splits, roi, tmp_path / "parts") is splits


def test_an_image_without_a_region_is_named(splits, tmp_path):
    save_images(tmp_path / "roi/good", "1.png", "2.bmp")
    with pytest.raises(DatasetError, match=r"scratch/1\.jpg has no region: 1\.png is not among"):
        attach_regions(splits, tmp_path / "roi", tmp_path / "parts")


def test_a_path_that_is_missing_is_told(splits, tmp_path):
    with pytest.raises(DatasetError, match=r"roi=.*nowhere is no folder"):
        attach_regions(splits, tmp_path / "nowhere", tmp_path / "parts")


def test_regions_of_loose_images_lie_in_one_folder(tmp_path):
    save_images(tmp_path / "roi", "7.png")
    found = RegionFolder(tmp_path / "roi", None).find(tmp_path / "somewhere/deep/7.tif")
    assert found == tmp_path / "roi/7.png"
