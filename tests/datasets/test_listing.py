from pathlib import Path

import pytest

from fre_lightning.datasets import Sample
from fre_lightning.datasets.listing import (
    attach_masks,
    find_left_out,
    is_listed,
    list_images,
    list_images_below,
    sub_folders,
    walk_images,
)
from fre_lightning.errors import DatasetError
from tests.datasets.files import save_images, save_masks

IMAGES = ("a/z.bmp", "a.JPG", "a.b/y.jpeg", "b.png", "sub/c.tiff", "sub/deep/d.webp")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*IMAGES, "notes.txt", ".hidden.png", ".git/x.png", "sub/Thumbs.db", "sub/.e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_what_is_listed_is_known_by_its_path(folder: Path) -> None:
    inside = {path for path in folder.rglob("*") if is_listed(path, folder)}
    assert {path for path in inside if path.suffix.lower() in {".png", ".tiff", ".bmp"}} == {
        folder / name for name in ("a/z.bmp", "b.png", "sub/c.tiff")
    }


def test_all_images_below_sorted_as_paths_are(folder: Path) -> None:
    assert list_images_below(folder) == sorted(folder / name for name in IMAGES)
    assert list(walk_images(str(folder))) == [str(path) for path in list_images_below(folder)]


def test_one_level(folder: Path) -> None:
    assert list_images(folder) == [folder / "a.JPG", folder / "b.png"]
    assert sub_folders(folder) == [folder / "a", folder / "a.b", folder / "sub"]


def test_links_are_followed_unless_they_lead_back(folder: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "e.png").touch()
    (folder / "sub/away").symlink_to(elsewhere)
    (folder / "sub/back").symlink_to(folder)
    (elsewhere / "back").symlink_to(folder / "sub")
    assert len(list_images_below(folder)) == 7
    assert folder / "sub/away/e.png" in list_images_below(folder)


def test_images_that_are_no_files(folder: Path) -> None:
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "c.png").mkdir()
    assert list_images(folder) == [folder / "a.JPG", folder / "b.png"]
    assert len(list_images_below(folder)) == 6
    assert str(folder / "gone.png") in walk_images(folder)  # is reported when it is read


def test_a_folder_that_is_missing_or_cannot_be_listed(folder: Path) -> None:
    for missing in (folder / "nowhere", folder / "notes.txt"):
        assert list_images_below(missing) == sub_folders(missing) == []
    (folder / "loop").symlink_to("loop")
    assert len(list_images_below(folder)) == 6
    with pytest.raises(DatasetError, match=r"loop cannot be listed \(Too many levels"):
        list_images(folder / "loop")


def test_what_is_left_out_is_counted(folder: Path) -> None:
    (folder / "sub/deep/@eaDir").mkdir()
    (folder / "sub/deep/picture").touch()
    (folder / "away").mkdir()
    (folder / "away/README.md").touch()
    folders, files = find_left_out(list_images_below(folder), folder)
    assert folders == {".git", "@eaDir"}
    assert files == {".db": 1, ".txt": 1, "no ending": 1}


def find_masks(root: Path, image: Path, mask_dir: Path) -> tuple[Path, ...]:
    (sample,) = attach_masks([Sample(image, "dent")], [mask_dir], root)
    return sample.mask_paths


def test_a_name_that_ends_in_mask_goes_before_the_bare_stem(tmp_path: Path) -> None:
    save_masks(tmp_path, "1.png", "1_mask.bmp", "2.tif")
    assert find_masks(tmp_path, Path("1.png"), tmp_path) == (tmp_path / "1_mask.bmp",)
    assert find_masks(tmp_path, Path("2.jpg"), tmp_path) == (tmp_path / "2.tif",)


def test_several_masks_are_numbered_or_in_a_folder(tmp_path: Path) -> None:
    save_masks(tmp_path, "1_mask1.png", "1_mask2.png", "1_mask.x.png", "11.png")
    save_masks(tmp_path / "2", "001.png", "000.png")
    expected = tuple(tmp_path / name for name in ("1_mask1.png", "1_mask2.png"))
    assert find_masks(tmp_path, Path("1.png"), tmp_path) == expected
    expected = tuple(tmp_path / "2" / name for name in ("000.png", "001.png"))
    assert find_masks(tmp_path, Path("2.png"), tmp_path) == expected


def test_the_rest_of_a_sample_stays_and_a_good_one_gets_no_mask(tmp_path: Path) -> None:
    save_masks(tmp_path, "1.png")
    good, defective = Sample(Path("b/1.png")), Sample(Path("a/1.png"), "dent")
    expected = [good, Sample(Path("a/1.png"), "dent", (tmp_path / "1.png",))]
    assert attach_masks([good, defective], [tmp_path] * 2, tmp_path) == expected


def test_an_image_is_not_its_own_mask(tmp_path: Path) -> None:
    save_images(tmp_path, "1.png")
    with pytest.raises(DatasetError, match=r"1\.png has no mask: among the 1 masks"):
        find_masks(tmp_path, tmp_path / "1.png", tmp_path)


def test_a_folder_that_is_missing_holds_no_masks(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"among the 0 .*nor 1\.png.*move {tmp_path} away"):
        find_masks(tmp_path, Path("1.png"), tmp_path / "none")
