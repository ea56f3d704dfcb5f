from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fre_lightning.datasets import Folder, MVTec, Splits
from fre_lightning.errors import DatasetError
from fre_lightning.images.reading import read_image
from tests.datasets.files import save_images, save_masks

TEN = [f"{i}.png" for i in range(10)]


def scan(root: Path, **settings: Any) -> Splits:
    defaults = {
        "category": None,
        "skip_unreadable": False,
        "intensity": "auto",
        "roi": None,
        "good_dir": None,
        "defect_dirs": None,
        "mask_dir": None,
        "test_fraction": 0.2,
        "seed": 0,
    }
    return Folder(root, **(defaults | settings)).scan()


def count(splits: Splits) -> dict[str, int]:
    types = [sample.defect_type for sample in splits.test]
    return {"train": len(splits.train)} | {name: types.count(name) for name in sorted(set(types))}


def test_images_in_root_alone(tmp_path: Path) -> None:
    save_images(tmp_path, *TEN)
    splits = scan(tmp_path)
    assert count(splits) == {"train": 8, "good": 2}
    assert not splits.has_masks
    assert splits == scan(tmp_path)


def test_category_is_the_name_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        Folder(".", None, False, "auto", None, None, None, None, 0.2, 0).category == tmp_path.name
    )
    assert Folder(".", "part", False, "auto", None, None, None, None, 0.2, 0).category == "part"


def test_every_format_is_found(tmp_path: Path) -> None:
    names = [
        "a.png",
        "b.JPG",
        "c.jpeg",
        "d.bmp",
        "e.tif",
        "f.TIFF",
        "g.webp",
        "h.jfif",
        "i.jp2",
        "j.gif",
        "k.ppm",
        "l.pnm",
    ]
    save_images(tmp_path / "good", *names)
    (tmp_path / "good/notes.txt").write_text("no image")
    Image.new("L", (16, 16)).save(tmp_path / "good/m.pgm")
    splits = scan(tmp_path, test_fraction=0)
    assert count(splits) == {"train": 13}
    for sample in splits.train:
        assert read_image(sample.path, (8, 8)).shape == (3, 8, 8)


def test_system_folders_are_no_defect_types(tmp_path: Path) -> None:
    save_images(tmp_path / "good", *TEN)
    save_images(tmp_path / "test/dent", "0.png")
    for name in ("@eaDir", "__MACOSX", "$RECYCLE.BIN", "lost+found", ".trash"):
        save_images(tmp_path / name, "0.png")
        save_images(tmp_path / "good" / name, "0.png")
        save_images(tmp_path / "test" / name, "0.png")
    assert count(scan(tmp_path)) == {"train": 8, "good": 2, "dent": 1}


def test_links_that_lead_back_add_no_image_and_no_defect_type(tmp_path: Path) -> None:
    save_images(tmp_path / "root/good", *TEN)
    save_images(tmp_path / "root/dent", "0.png")
    (tmp_path / "root/good/again").symlink_to("..")
    (tmp_path / "root/dent/again").symlink_to("../..")
    (tmp_path / "root/whole").symlink_to(".")
    (tmp_path / "root/above").symlink_to("..")
    assert count(scan(tmp_path / "root")) == {"train": 8, "good": 2, "dent": 1}


def test_defect_folders_are_kept_apart(tmp_path: Path) -> None:
    save_images(tmp_path / "good", *TEN)
    save_images(tmp_path / "scratch", "0.png", "1.png")
    save_images(tmp_path / "dent", "0.png")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "empty").mkdir()
    splits = scan(tmp_path)
    assert count(splits) == {"train": 8, "good": 2, "dent": 1, "scratch": 2}
    assert not splits.has_masks


def test_good_images_in_root_beside_defect_folders(tmp_path: Path) -> None:
    save_images(tmp_path, *TEN)
    save_images(tmp_path / "scratch", "0.png")
    assert count(scan(tmp_path)) == {"train": 8, "good": 2, "scratch": 1}


@pytest.mark.parametrize("mask_root", ["masks", "ground_truth"])
def test_masks_of_any_format(tmp_path: Path, mask_root: str) -> None:
    save_images(tmp_path / "good", *TEN)
    save_images(tmp_path / "scratch", "0.jpg", "1.jpg")
    save_masks(tmp_path / mask_root / "scratch", "0_mask.bmp", "1.tif")
    splits = scan(tmp_path)
    masks = [path for sample in splits.test for path in sample.mask_paths]
    assert splits.has_masks
    assert masks == [tmp_path / mask_root / "scratch" / name for name in ("0_mask.bmp", "1.tif")]


def test_masks_of_the_only_defect_type_need_no_folder(tmp_path: Path) -> None:
    save_images(tmp_path / "good", *TEN)
    save_images(tmp_path / "scratch", "0.png")
    save_masks(tmp_path / "masks", "0.png")
    assert scan(tmp_path).has_masks


def test_masks_without_defects_are_no_masks(tmp_path: Path) -> None:
    save_images(tmp_path / "good", *TEN)
    (tmp_path / "masks").mkdir()
    assert not scan(tmp_path).has_masks


def test_nested_folders_are_read_with_their_masks(tmp_path: Path) -> None:
    for day in ("monday", "tuesday"):
        save_images(tmp_path / "good" / day, *TEN)
        save_images(tmp_path / "scratch" / day, "0.png")
        save_masks(tmp_path / "masks/scratch" / day, "0.png")
    splits = scan(tmp_path)
    assert count(splits) == {"train": 16, "good": 4, "scratch": 2}
    assert {path.parent.name for sample in splits.test for path in sample.mask_paths} == {
        "monday",
        "tuesday",
    }


def test_test_good_is_taken_instead_of_a_fraction(tmp_path: Path) -> None:
    save_images(tmp_path / "good", *TEN)
    save_images(tmp_path / "test/good", "0.png", "1.png", "2.png")
    save_images(tmp_path / "test/scratch", "0.png")
    save_images(tmp_path / "dent", "0.png")
    assert count(scan(tmp_path)) == {"train": 10, "dent": 1, "good": 3, "scratch": 1}


def test_named_folders(tmp_path: Path) -> None:
    save_images(tmp_path / "ok/day", *TEN)
    save_images(tmp_path / "bad/scratch", "0.png")
    save_images(tmp_path / "bad/dent", "0.png")
    save_images(tmp_path / "unsorted", "0.png")
    save_masks(tmp_path / "labels/scratch", "0.png")
    settings = {"good_dir": "ok", "defect_dirs": "bad/scratch", "mask_dir": "labels"}
    splits = scan(tmp_path, **settings)
    assert count(splits) == {"train": 8, "good": 2, "scratch": 1}
    assert splits.has_masks
    assert count(scan(tmp_path, good_dir="ok", defect_dirs=["bad/scratch", "bad/dent"])) == {
        "train": 8,
        "dent": 1,
        "good": 2,
        "scratch": 1,
    }
    assert count(scan(tmp_path, good_dir="ok", defect_dirs=[])) == {"train": 8, "good": 2}


def test_mvtec_layout_is_read_as_such(mvtec: Path) -> None:
    assert (
        scan(mvtec / "part")
        == MVTec(mvtec, "part", skip_unreadable=False, intensity="auto", roi=None).scan()
    )


def test_root_of_mvtec_categories_points_to_mvtec(mvtec: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset=mvtec .*dataset\.category=part"):
        scan(mvtec)


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere does not exist\. Set dataset\.root"):
        scan(tmp_path / "nowhere")


def test_unclear_layout_says_what_was_found(tmp_path: Path) -> None:
    save_images(tmp_path / "ok", *TEN)
    save_images(tmp_path / "ng", "0.png")
    with pytest.raises(DatasetError, match=r"ng \(1\), ok \(10\)\. Name .*good.*dataset\.good_dir"):
        scan(tmp_path)


def test_empty_root(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"found 0 images in .*, no sub-folder"):
        scan(tmp_path)


def test_empty_good_folder(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    with pytest.raises(DatasetError, match=r"no images in .*good.*good \(0\)"):
        scan(tmp_path)


@pytest.mark.parametrize("setting", ["good_dir", "mask_dir", "defect_dirs"])
def test_wrong_name_lists_the_sub_folders(tmp_path: Path, setting: str) -> None:
    save_images(tmp_path / "good", *TEN)
    with pytest.raises(DatasetError, match=rf"dataset\.{setting}=wrong is not .*good \(10\)"):
        scan(tmp_path, **{setting: "wrong"})


def test_missing_mask_is_named(tmp_path: Path) -> None:
    save_images(tmp_path / "good", *TEN)
    save_images(tmp_path / "scratch", "0.png", "1.png")
    save_masks(tmp_path / "masks/scratch", "0.png")
    with pytest.raises(DatasetError, match=r"scratch/1\.png has no mask"):
        scan(tmp_path)


def test_loose_test_images_are_refused(tmp_path: Path) -> None:
    save_images(tmp_path / "good", *TEN)
    save_images(tmp_path / "test", "0.png")
    with pytest.raises(DatasetError, match="1 images lie directly in"):
        scan(tmp_path)
