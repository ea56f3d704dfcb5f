import json
import os

import numpy as np
import pytest

from fre_lightning.features import shards
from fre_lightning.features.cache import CacheEntry, FeatureCache
from fre_lightning.features.inventory import find_orphan_locks, size_of, take_inventory
from fre_lightning.features.locks import lock_of

KEY = {"backbone": "vit/small", "layer": "blocks.5"}


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 3)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", "float32")


def fill(cache, name="gear-train-vit/small-blocks.5", stop=10, key=KEY):
    def compute(writers):
        for index in range(writers[0].items[0], stop):
            writers[0].append(np.ones((1, 2), np.float32), [index])
        if stop < 10:
            raise KeyboardInterrupt

    return cache.load_or_compute([CacheEntry(name, key)], 10, compute)


def test_an_entry_has_its_names_its_images_and_its_size(cache):
    fill(cache)
    (item,) = take_inventory(cache.cache_dir)
    assert (item.name, item.backbone, item.layer) == ("gear-train", "vit/small", "blocks.5")
    assert (item.n_images, item.is_complete, item.is_locked) == (10, True, False)
    files = [path for path in item.path.iterdir() if path.is_file()]
    assert item.n_bytes == sum(len(path.read_bytes()) for path in files)


def test_masks_have_no_backbone(cache):
    fill(cache, "gear-masks", key={"masks": [2, 2]})
    (item,) = take_inventory(cache.cache_dir)
    assert (item.name, item.backbone, item.layer) == ("gear-masks", "", "")


def test_half_an_entry(cache):
    with pytest.raises(KeyboardInterrupt):
        fill(cache, stop=7)
    (item,) = take_inventory(cache.cache_dir)
    assert (item.n_images, item.is_complete) == (6, False)


def test_shards_of_several_manifests_count_once(cache):
    """As a run of several processes leaves them that is killed when it unites them."""
    fill(cache)
    (item,) = take_inventory(cache.cache_dir)
    united = json.loads((item.path / "manifest.json").read_text())
    for number in range(2):
        part = united | {"shards": united["shards"][2 * number : 2 * number + 2]}
        (item.path / f"manifest-{number}.json").write_text(json.dumps(part))
    (item,) = take_inventory(cache.cache_dir)
    assert (item.n_images, item.is_complete) == (10, True)
    (item.path / "manifest.json").unlink()
    (item.path / "manifest-0.json").unlink()
    (item,) = take_inventory(cache.cache_dir)
    assert (item.n_images, item.is_complete) == (4, False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"shards": [1]}'])
def test_a_manifest_that_cannot_be_read(cache, text):
    fill(cache)
    (item,) = take_inventory(cache.cache_dir)
    (item.path / "manifest.json").write_text(text)
    (item,) = take_inventory(cache.cache_dir)
    assert (item.n_images, item.is_complete) == (0, False)


def test_reading_an_entry_is_a_use(cache):
    fill(cache)
    (item,) = take_inventory(cache.cache_dir)
    os.utime(item.path, (1000, 1000))
    (old,) = take_inventory(cache.cache_dir)
    assert old.used == 1000
    fill(cache)
    (again,) = take_inventory(cache.cache_dir)
    assert again.used >= item.used


def test_a_locked_entry(cache):
    fill(cache)
    (item,) = take_inventory(cache.cache_dir)
    with lock_of(item.path):
        (locked,) = take_inventory(cache.cache_dir)
    assert locked.is_locked


def test_what_others_put_there_is_left_out(cache):
    root = cache.cache_dir
    fill(cache)
    for name in ("notes.txt", "photos/1.npy", "thesis-0123456789abcdef/thesis.tex"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"mine")
    (root / "link-0123456789abcdef").symlink_to(root / "photos")
    assert [item.name for item in take_inventory(root)] == ["gear-train"]


def test_what_else_the_program_keeps(tmp_path):
    for name in (
        "openvino/a.zip",
        "intensity/b.json",
        "images/c/000000.npy",
        "images/c/000001.npy",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"four")
    items = take_inventory(tmp_path)
    assert [(item.name, item.path.name, item.n_images, item.n_bytes) for item in items] == [
        ("images", "c", 2, 8),
        ("intensity", "b.json", 0, 4),
        ("openvino", "a.zip", 0, 4),
    ]


def test_no_cache_yet(tmp_path):
    assert take_inventory(tmp_path / "none") == []
    assert find_orphan_locks(tmp_path / "none") == []


def test_a_lock_without_its_entry(cache):
    fill(cache)
    (item,) = take_inventory(cache.cache_dir)
    assert find_orphan_locks(cache.cache_dir) == []
    moved = item.path.rename(cache.cache_dir / "moved")
    (cache.cache_dir / "other.lock").touch()  # not of an entry
    assert find_orphan_locks(cache.cache_dir) == [item.path]
    assert size_of(moved) == item.n_bytes
