from pathlib import Path

import pytest

from fre_lightning.datasets import Sample
from fre_lightning.datasets.masks import MaskFinder
from fre_lightning.errors import DatasetError
from tests.datasets.files import save_images, save_masks


def find(root: Path, image: Path, mask_dir: Path) -> Path | None:
    return MaskFinder(root).attach(Sample(image, "dent"), mask_dir).mask_path


def test_a_name_that_ends_in_mask_goes_before_the_bare_stem(tmp_path: Path) -> None:
    save_masks(tmp_path, "1.png", "1_mask.bmp", "2.tif")
    assert find(tmp_path, Path("1.png"), tmp_path) == tmp_path / "1_mask.bmp"
    assert find(tmp_path, Path("2.jpg"), tmp_path) == tmp_path / "2.tif"


def test_the_rest_of_a_sample_stays(tmp_path: Path) -> None:
    save_masks(tmp_path, "1.png")
    sample = MaskFinder(tmp_path).attach(Sample(Path("a/1.png"), "dent"), tmp_path)
    assert sample == Sample(Path("a/1.png"), "dent", tmp_path / "1.png")


def test_an_image_is_not_its_own_mask(tmp_path: Path) -> None:
    save_images(tmp_path, "1.png")
    with pytest.raises(DatasetError, match=r"1\.png has no mask: among the 1 masks"):
        find(tmp_path, tmp_path / "1.png", tmp_path)


def test_a_folder_that_is_missing_holds_no_masks(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"among the 0 .*nor 1\.png.*move {tmp_path} away"):
        find(tmp_path, Path("1.png"), tmp_path / "none")
