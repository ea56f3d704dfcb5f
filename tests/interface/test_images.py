import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.errors import CacheError, DatasetError, UnreadableImageError
from fre_lightning.interface.images import dataset_of


@pytest.fixture
def describe(tmp_path):
    """`dataset_of` with folders below `tmp_path`."""
    return lambda images: dataset_of(images, tmp_path, tmp_path / "cache")


class OfTuples:
    """A dataset of torch's kind: indices, no iterator of its own, no end."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index % len(self)], index % 2


def test_a_folder_stays_where_it_is(describe, tmp_path):
    expected = {"dataset": "folder", "dataset.root": tmp_path}
    assert describe(tmp_path) == describe(str(tmp_path)) == expected


def test_paths_become_a_table(describe, tmp_path):
    paths = [tmp_path / name for name in ('a "b", c.png', "d.png")]
    for path in paths:
        Image.new("L", (8, 8)).save(path)
    settings = describe(paths)
    assert (settings["dataset"], settings["dataset.root"]) == ("csv", str(tmp_path))
    header, *rows = settings["dataset.table"].read_text().splitlines()
    assert header == "path,label"
    assert rows == [f'"{tmp_path}/a ""b"", c.png",good', f'"{tmp_path}/d.png",good']
    assert describe(str(paths[1])) == describe(paths[1:])
    with pytest.raises(DatasetError, match=r"1 of 2 images are no files, .*no\.png"):
        describe([paths[0], tmp_path / "no.png"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_images_in_memory_keep_their_values_and_their_place(describe, dtype):
    rng = np.random.default_rng(0)
    arrays = (rng.random((3, 6, 5, 3)) * (1 if dtype == np.float32 else 200)).astype(dtype)
    folder = describe(arrays)["dataset.root"]
    stored = [np.load(path) for path in sorted(folder.iterdir())]
    np.testing.assert_array_equal(stored, arrays)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    tensors = torch.from_numpy(arrays).permute(0, 3, 1, 2)
    kinds = [list(arrays), tensors, (a for a in arrays), OfTuples(tensors)]
    kinds += [[{"image": array, "label": 0} for array in arrays]]
    if dtype == np.uint8:
        kinds += [[Image.fromarray(array) for array in arrays]]
    for images in kinds:
        assert describe(images)["dataset.root"] == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert len(list(folder.parent.iterdir())) == 1
    assert describe(arrays[:2])["dataset.root"] != folder


def test_a_list_of_files_and_images(describe, tmp_path):
    Image.new("L", (8, 8), 7).save(tmp_path / "a.png")
    folder = describe([tmp_path / "a.png", np.full((8, 8), 9, np.uint8)])["dataset.root"]
    assert [np.load(path)[0, 0] for path in sorted(folder.iterdir())] == [7, 9]


@pytest.mark.parametrize("images", [[], iter([]), np.empty((0, 4, 4, 3))])
def test_no_images(describe, images):
    with pytest.raises(DatasetError, match="There are no images"):
        describe(images)


def test_what_is_no_list_of_images(describe, tmp_path):
    for image in (np.zeros((8, 8, 3), np.uint8), torch.zeros(3, 8, 8)):
        with pytest.raises(DatasetError, match="Give a list"):
            describe(image)
    assert list(describe(Image.new("L", (8, 8)))["dataset.root"].iterdir())
    with pytest.raises(TypeError, match="not <class 'int'>"):
        describe(3)
    with pytest.raises(UnreadableImageError):
        describe([np.zeros(3), np.zeros(3)])
    (tmp_path / "cache/images").rename(tmp_path / "moved")
    (tmp_path / "cache/images").touch()
    with pytest.raises(CacheError, match=r"paths\.cache_dir"):
        describe([Image.new("L", (8, 8))])
