import shutil
from pathlib import Path

import numpy as np
import pytest

from fre_lightning.datasets import MTD, Splits
from fre_lightning.errors import ConfigError, DatasetError
from tests.datasets.files import save_images, save_masks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index, kind in enumerate(("Free", "Blowhole", "Break", "Crack", "Fray", "Uneven")):
        n = 10 if kind == "Free" else index
        stems = [f"exp{i}_num_{7 * i % 10}" for i in range(n)]
        save_images(tmp_path / f"MT_{kind}/Imgs", *(f"{stem}.jpg" for stem in stems))
        save_masks(tmp_path / f"MT_{kind}/Imgs", *(f"{stem}.png" for stem in stems))
    return tmp_path


def scan(root: Path, test_fraction: float = 0.2, seed: int = 0) -> Splits:
    return MTD(root, "magnetic_tile", False, "auto", None, test_fraction, seed).scan()


def test_split_is_the_first_of_a_seeded_permutation(root: Path) -> None:
    splits = scan(root, seed=3)
    free = sorted((root / "MT_Free/Imgs").glob("*.jpg"))
    held_out = sorted(free[i] for i in np.random.default_rng(3).permutation(10)[:2])
    assert [sample.path for sample in splits.test if not sample.label] == held_out
    assert [sample.path for sample in splits.train] == sorted(set(free) - set(held_out))


def test_defects_have_masks(root: Path) -> None:
    splits = scan(root)
    types = [sample.defect_type for sample in splits.test if sample.label]
    assert types == sorted(types)
    assert [types.count(t) for t in ("blowhole", "break", "crack", "fray", "uneven")] == [
        *range(1, 6)
    ]
    masks = [path for sample in splits.test for path in sample.mask_paths]
    assert splits.has_masks
    assert masks == [sample.path.with_suffix(".png") for sample in splits.test if sample.label]


def test_seeds_differ_and_repeat(root: Path) -> None:
    assert scan(root, seed=1) == scan(root, seed=1)
    assert scan(root, seed=1).train != scan(root, seed=2).train


def test_root_may_be_one_level_above(root: Path) -> None:
    inner = root / "Magnetic-tile-defect-datasets.-master"
    inner.mkdir()
    for folder in sorted(root.glob("MT_*")):
        folder.rename(inner / folder.name)
    assert len(scan(root).train) == 8


def test_missing_root_tells_how_to_download(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"fre_lightning\.download mtd --root .*dataset\.root"):
        scan(tmp_path / "nowhere")


def test_other_folder_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "bottle").mkdir()
    with pytest.raises(DatasetError, match=r"No MT_Free .*sub-folders: bottle"):
        scan(tmp_path)


def test_missing_kind_is_named(root: Path) -> None:
    shutil.rmtree(root / "MT_Fray")
    with pytest.raises(DatasetError, match=r"MT_Fray/Imgs is missing.*incomplete"):
        scan(root)


def test_missing_mask_is_named(root: Path) -> None:
    next((root / "MT_Crack/Imgs").glob("*.png")).unlink()
    with pytest.raises(DatasetError, match="has no mask"):
        scan(root)


def test_fraction_out_of_range(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"test_fraction must be .*got 1"):
        scan(root, test_fraction=1)
