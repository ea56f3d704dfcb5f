from pathlib import Path

import pytest

from fre_lightning.datasets.listing import (
    list_images,
    list_images_below,
    sub_folders,
    walk_images,
)
from fre_lightning.errors import DatasetError

IMAGES = ("a/z.bmp", "a.JPG", "a.b/y.jpeg", "b.png", "sub/c.tiff", "sub/deep/d.webp")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*IMAGES, "notes.txt", ".hidden.png", ".git/x.png", "sub/Thumbs.db", "sub/.e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


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
