import shutil
from pathlib import Path

import pytest

from fre_lightning.datasets import MVTec, Splits
from fre_lightning.errors import DatasetError
from tests.datasets.files import save_images, save_masks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    bottle = tmp_path / "bottle"
    save_images(bottle / "train/good", "001.png", "000.png")
    save_images(bottle / "test/good", "000.png")
    save_images(bottle / "test/broken", "000.png", "001.png")
    save_images(bottle / "test/a_stain", "000.jpg")
    save_masks(bottle / "ground_truth/broken", "000_mask.png", "001_mask.png")
    save_masks(bottle / "ground_truth/a_stain", "000.png")
    save_images(tmp_path / "metal_nut/train/good", "000.png")
    return tmp_path


def scan(root: Path, category: str = "bottle") -> Splits:
    return MVTec(root, category, skip_unreadable=False, intensity="auto", roi=None).scan()


def test_splits_are_sorted_good_first(root: Path) -> None:
    splits = scan(root)
    assert [sample.path.name for sample in splits.train] == ["000.png", "001.png"]
    assert all(sample.label == 0 and not sample.mask_paths for sample in splits.train)
    types = [sample.defect_type for sample in splits.test]
    assert types == ["good", "a_stain", "broken", "broken"]
    assert splits.has_masks


def test_masks_belong_to_their_images(root: Path) -> None:
    masks = [sample.mask_paths for sample in scan(root).test]
    truth = root / "bottle/ground_truth"
    names = ("a_stain/000.png", "broken/000_mask.png", "broken/001_mask.png")
    assert masks == [(), *((truth / name,) for name in names)]


def test_hidden_and_other_files_are_left_out(root: Path) -> None:
    for name in (".DS_Store", "._000.png", "readme.txt", "Thumbs.db"):
        (root / "bottle/train/good" / name).write_bytes(b"")
    assert len(scan(root).train) == 2


def test_root_as_string_and_home(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("HOME", str(root))
    assert len(scan(Path("~")).train) == 2


def test_no_ground_truth_means_no_masks(root: Path) -> None:
    shutil.rmtree(root / "bottle/ground_truth")
    splits = scan(root)
    assert not splits.has_masks
    assert len(splits.test) == 4


def test_no_defective_image_means_no_masks(root: Path) -> None:
    for name in ("broken", "a_stain"):
        shutil.rmtree(root / "bottle/test" / name)
    assert not scan(root).has_masks


def test_no_test_folder_means_empty_test_split(root: Path) -> None:
    assert scan(root, "metal_nut").test == []


def test_missing_mask_is_named(root: Path) -> None:
    (root / "bottle/ground_truth/broken/001_mask.png").unlink()
    with pytest.raises(DatasetError, match=r"test/broken/001\.png has no mask.*001_mask\.png"):
        scan(root)


def test_missing_mask_folder_is_named(root: Path) -> None:
    shutil.rmtree(root / "bottle/ground_truth/broken")
    with pytest.raises(DatasetError, match=r"among the 0 masks found in .*ground_truth/broken"):
        scan(root)


def test_missing_root_tells_how_to_download(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"fre_lightning\.download mvtec --root .*dataset\.root"):
        scan(tmp_path / "nowhere")


def test_unknown_category_lists_those_there_are(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"'botle'.*Did you mean bottle\?.*bottle, metal_nut"):
        scan(root, "botle")


def test_root_that_is_a_category(root: Path) -> None:
    with pytest.raises(DatasetError, match=rf"dataset\.root={root} dataset\.category=bottle"):
        scan(root / "bottle")


def test_root_without_categories(tmp_path: Path) -> None:
    (tmp_path / "stuff").mkdir()
    with pytest.raises(DatasetError, match="No category was found"):
        scan(tmp_path)


def test_category_without_training_folder(root: Path) -> None:
    (root / "bottle/train/good").rename(root / "bottle/train/ok")
    with pytest.raises(DatasetError, match=r"no images in train/good \(found: ground_truth, test"):
        scan(root)


def test_empty_training_folder(root: Path) -> None:
    (root / "metal_nut/train/good/000.png").unlink()
    with pytest.raises(DatasetError, match=r"holds no images.*defect-free"):
        scan(root, "metal_nut")


def test_loose_test_images_are_refused(root: Path) -> None:
    save_images(root / "metal_nut/test", "a.png", "b.png")
    with pytest.raises(DatasetError, match=r"2 images lie directly in .*a\.png"):
        scan(root, "metal_nut")
