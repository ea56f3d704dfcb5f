import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fre_lightning.datasets import Synthetic
from fre_lightning.datasets.synthetic_defects import DEFECTS
from fre_lightning.datasets.synthetic_parts import PARTS
from fre_lightning.errors import ConfigError, DatasetError


def make(root: Path, **settings: Any) -> Synthetic:
    defaults = {
        "category": "gear",
        "skip_unreadable": False,
        "intensity": "auto",
        "roi": None,
        "image_size": 32,
        "n_train": 3,
        "n_test_good": 2,
        "n_test_defective": 6,
        "seed": 0,
    }
    return Synthetic(root, **(defaults | settings))


def read_all(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.png")}


@pytest.mark.parametrize("category", PARTS)
def test_splits(tmp_path: Path, category: str) -> None:
    splits = make(tmp_path, category=category).scan()
    assert len(splits.train) == 3
    types = [sample.defect_type for sample in splits.test]
    assert types.count("good") == 2
    assert sorted(types.count(name) for name in DEFECTS[category]) == [1, 1, 2, 2]
    assert splits.has_masks
    with Image.open(splits.train[0].path) as image:
        assert (image.mode, image.size) == ("RGB", (32, 32))


@pytest.mark.parametrize("category", PARTS)
@pytest.mark.parametrize("size", [32, 57])
def test_defects_are_where_the_mask_is(category: str, size: int) -> None:
    dataset = make(Path(), category=category, image_size=size)
    for defect_type in DEFECTS[category]:
        for index in range(5):
            image, mask = dataset.draw("test", defect_type, index)
            assert image.shape == (size, size, 3)
            assert set(np.unique(mask)) == {0, 255}
            assert (mask > 0).mean() < 0.4


def test_defect_changes_the_part_inside_its_mask_most() -> None:
    for category, defects in DEFECTS.items():
        for spoil in defects.values():
            rng = np.random.default_rng(5)
            part = PARTS[category](64, rng)
            image, weight = spoil(part, rng)
            change = np.abs(image - part.image).max(axis=-1)
            inside = weight > weight.max() / 3
            assert change[inside].mean() > 5 * change[~inside].mean()


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name).scan()
    assert read_all(tmp_path / "a") == read_all(tmp_path / "b")


def test_images_differ_from_each_other_and_between_seeds(tmp_path: Path) -> None:
    make(tmp_path).scan()
    make(tmp_path, seed=1).scan()
    images = [data for name, data in read_all(tmp_path).items() if "ground_truth" not in name]
    assert len(set(images)) == len(images) == 22


def test_other_parameters_are_another_folder(tmp_path: Path) -> None:
    first = make(tmp_path).scan()
    other = make(tmp_path, n_train=5).scan()
    assert (len(first.train), len(other.train)) == (3, 5)
    assert first == make(tmp_path).scan()
    longer = [sample.path.read_bytes() for sample in other.train]
    assert longer[:3] == [sample.path.read_bytes() for sample in first.train]


def test_made_only_once(tmp_path: Path) -> None:
    path = make(tmp_path).scan().train[0].path
    modified = path.stat().st_mtime_ns
    assert make(tmp_path).scan().train[0].path.stat().st_mtime_ns == modified
    parameters = json.loads((path.parents[2] / "parameters.json").read_text())
    assert parameters["n_test_defective"] == 6


def test_what_is_whole_is_read_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(tmp_path).scan()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert make(tmp_path).scan() == first


def test_interruption_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(tmp_path)
    with monkeypatch.context() as patch:
        draw = dataset.draw

        def stop(split: str, defect_type: str, index: int) -> Any:
            if split == "test":
                raise KeyboardInterrupt
            return draw(split, defect_type, index)

        patch.setattr(dataset, "draw", stop)
        with pytest.raises(KeyboardInterrupt):
            dataset.scan()
    assert not read_all(tmp_path)
    assert len(make(tmp_path).scan().test) == 8


def test_leftovers_of_a_killed_process_are_replaced(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    partial = tmp_path / "v1_32px_3-2-6_seed0/.gear.partial/train/good"
    partial.mkdir(parents=True)
    (partial / "999.png").write_bytes(b"half")
    assert len(dataset.scan().train) == 3
    assert not partial.exists()


def _scan(root: Path) -> int:
    return len(make(root, category="leather").scan().train)


def test_processes_that_generate_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_scan, [tmp_path] * 4) == [3] * 4
    make(tmp_path / "alone", category="leather").scan()
    alone = read_all(tmp_path / "alone")
    together = {k: v for k, v in read_all(tmp_path).items() if not k.startswith("alone")}
    assert together == alone


def test_foreign_folder_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "v1_32px_3-2-6_seed0/gear"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match="was not made by this program"):
        make(tmp_path).scan()
    assert (folder / "mine.txt").exists()


def test_unknown_category(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'bottle'.*bolt, fabric, gear, leather, metal"):
        make(tmp_path, category="bottle").scan()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"cannot be written to .*dataset\.root"):
        make(tmp_path / "file").scan()


@pytest.mark.parametrize(
    ("name", "value"), [("image_size", 8), ("n_train", 0), ("n_test_good", -1), ("seed", -1)]
)
def test_parameters_out_of_range(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"dataset\.{name} must be .*got {value}"):
        make(tmp_path, **{name: value}).scan()
