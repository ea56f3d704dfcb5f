"""What is read of each published layout, against lists written by hand."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from fre_lightning.config import build
from fre_lightning.datasets import AnomalyDataset, Splits
from fre_lightning.errors import DatasetError
from tests.configs import compose_config
from tests.datasets.files import save_images, save_masks
from tests.datasets.layouts import MAKERS

READ = {
    "mpdd": {
        "train": [f"tubes/train/good/{i}.png" for i in range(6)],
        "good": ["tubes/test/good/0.png", "tubes/test/good/1.png"],
        "anomalous": ["tubes/test/anomalous/0.png", "tubes/test/anomalous/1.png"],
        "bent": ["tubes/test/bent/0.png", "tubes/test/bent/1.png"],
        "masks": [
            f"tubes/ground_truth/{kind}/{i}_mask.png"
            for kind in ("anomalous", "bent")
            for i in "01"
        ],
    },
    "btad": {
        "train": [f"03/train/ok/000{i}.bmp" for i in range(4)],
        "good": ["03/test/ok/0000.bmp", "03/test/ok/0001.bmp"],
        "ko": ["03/test/ko/0000.bmp", "03/test/ko/0001.bmp"],
        "masks": ["03/ground_truth/ko/0000.png", "03/ground_truth/ko/0001.bmp"],
    },
    "mvtec_ad2": {
        "train": [f"can/train/good/{i}.png" for i in range(6)],
        "good": ["can/test_public/good/0.png", "can/test_public/good/1.png"],
        "bad": ["can/test_public/bad/0.png", "can/test_public/bad/1.png"],
        "masks": [f"can/test_public/ground_truth/bad/{i}_mask.png" for i in "01"],
    },
    "mvtec_loco": {
        "train": [f"pushpins/train/good/{i}.png" for i in range(6)],
        "good": ["pushpins/test/good/0.png", "pushpins/test/good/1.png"],
        "logical_anomalies": [f"pushpins/test/logical_anomalies/{i}.png" for i in "01"],
        "structural_anomalies": [f"pushpins/test/structural_anomalies/{i}.png" for i in "01"],
        "masks": [
            f"pushpins/ground_truth/{kind}_anomalies/{mask}.png"
            for kind in ("logical", "structural")
            for mask in ("0/000", "0/001", "1/000")
        ],
    },
    "visa": {
        "train": [f"candle/Data/Images/Normal/000{i}.JPG" for i in range(3)],
        "good": [f"candle/Data/Images/Normal/000{i}.JPG" for i in (3, 4)],
        "anomaly": [f"candle/Data/Images/Anomaly/00{i}.JPG" for i in (0, 1)],
        "masks": [f"candle/Data/Masks/Anomaly/00{i}.png" for i in (0, 1)],
    },
    "kolektor_sdd2": {
        "train": [f"train/{i}.png" for i in (10300, 10301, 10303, 10304)],
        "good": [f"test/{i}.png" for i in (20000, 20002, 20003)],
        "defect": ["test/20001.png", "test/20004.png"],
        "masks": ["test/20001_GT.png", "test/20004_GT.png"],
    },
    "dagm": {
        "train": [f"Class1/Train/057{i}.PNG" for i in (0, 2, 3)],
        "good": [f"Class1/Test/057{i}.PNG" for i in (0, 2, 3)],
        "defect": ["Class1/Test/0571.PNG", "Class1/Test/0574.PNG"],
        "masks": ["Class1/Test/Label/0571_label.PNG", "Class1/Test/Label/0574_label.PNG"],
    },
    "real_iad": {
        "train": [f"OK/S000{i}/audiojack_000{i}_OK_C1_20231023.jpg" for i in range(3)],
        "good": [f"OK/S000{i}/audiojack_000{i}_OK_C1_20231023.jpg" for i in (4, 6)],
        "AK": ["NG/AK/S0005/audiojack_0005_AK_C1_20231023.jpg"],
        "HS": [f"NG/HS/S000{i}/audiojack_000{i}_HS_C1_20231023.jpg" for i in (3, 7)],
        "masks": [
            f"NG/{kind}/S000{i}/audiojack_000{i}_{kind}_C1_20231023.png"
            for i, kind in ((5, "AK"), (3, "HS"), (7, "HS"))
        ],
    },
    "csv": {
        "train": ["any/2.png", "any/3.png", "any/4.png"],
        "good": ["any/5.png"],
        "dent": ["any/1.png"],
        "masks": ["truth/1.png"],
    },
}


def make(name: str, root: Path, **settings: Any) -> AnomalyDataset:
    node = compose_config(f"dataset={name}", f"dataset.root={root}").dataset
    dataset = build(node, **MAKERS[name](root), **settings)
    assert isinstance(dataset, AnomalyDataset)
    return dataset


def listed(splits: Splits, root: Path) -> dict[str, list[str]]:
    """The names of training images, test images by defect type, and masks, in their order."""
    found: dict[str, list[str]] = {"train": [], "masks": []}
    for sample in splits.train:
        found["train"].append(sample.path.relative_to(root).as_posix())
    for sample in splits.test:
        found.setdefault(sample.defect_type, []).append(sample.path.relative_to(root).as_posix())
        found["masks"] += [path.relative_to(root).as_posix() for path in sample.mask_paths]
    return found


@pytest.mark.parametrize("name", READ)
def test_what_is_read(tmp_path: Path, name: str) -> None:
    splits = make(name, tmp_path).scan()
    below = tmp_path / "realiad_1024/audiojack" if name == "real_iad" else tmp_path
    assert listed(splits, below) == READ[name]


@pytest.mark.parametrize("name", ["aitex", "elpv", "kolektor_sdd"])
def test_sets_without_splits_are_drawn(tmp_path: Path, name: str) -> None:
    dataset = make(name, tmp_path)
    first, again = dataset.scan(), dataset.scan()
    assert first == again
    dataset.seed = 1  # type: ignore[attr-defined]
    other = dataset.scan()
    assert other.train != first.train
    assert [s for s in other.test if s.label] == [s for s in first.test if s.label]


def test_kolektor_parts_are_defective_where_their_mask_marks_anything(tmp_path: Path) -> None:
    splits = make("kolektor_sdd", tmp_path).scan()
    assert len(splits.train) == 4
    found = listed(splits, tmp_path)
    assert len(found["good"]) == 2
    assert found["defect"] == ["kos01/Part2.jpg", "kos02/Part2.jpg"]
    assert found["masks"] == ["kos01/Part2_label.bmp", "kos02/Part2_label.bmp"]


def test_aitex_fabrics_codes_and_numbered_masks(tmp_path: Path) -> None:
    dataset = make("aitex", tmp_path)
    found = listed(dataset.scan(), tmp_path)
    assert len(found["train"]) == 3
    assert found["broken_end"] == ["Defect_images/0001_002_00.png"]
    assert found["fuzzyball"] == ["Defect_images/0044_019_00.png"]
    names = ("0001_002_00_mask", "0044_019_00_mask1", "0044_019_00_mask2")
    assert found["masks"] == [f"Mask_images/{name}.png" for name in names]
    dataset.category = "all"
    train, test, has_masks = dataset.scan()
    roll = tmp_path / "NODefect_images/2306894-210033u/0018_00_01.png"
    assert roll in {sample.path for sample in (*train, *test)}  # its code has two digits
    assert len(train) + len(test) == 8  # without the one of fabric 08
    assert has_masks


def test_elpv_kinds_and_probabilities(tmp_path: Path) -> None:
    dataset = make("elpv", tmp_path)
    splits = dataset.scan()
    types = [sample.defect_type for sample in splits.test if sample.label]
    assert types == ["probability_033", "probability_067", "probability_100"]
    assert len(splits.train) == 3
    dataset.category = "all"
    assert len(dataset.scan().train) == 4
    dataset.category = "poly"
    assert [sample.path.name for sample in dataset.scan().train] == ["cell0008.png"]


@pytest.mark.parametrize(
    ("name", "expected", "page"),
    [
        ("aitex", "No NODefect_images", "aitex.es"),
        ("btad", "no sub-folder holds train/ok", "VT-ADL"),
        ("dagm", "no sub-folder holds Train", "zenodo"),
        ("elpv", r"No labels\.csv", r"pip install"),
        ("kolektor_sdd", "No kos01", "vicos"),
        ("kolektor_sdd2", "No train", "vicos"),
        ("mpdd", "no sub-folder holds train/good", "stepanje"),
        ("mvtec_ad2", "no sub-folder holds train/good", "mvtec-ad-2"),
        ("mvtec_loco", "no sub-folder holds train/good", "mvtec-loco"),
        ("real_iad", "No realiad_jsons", "realiad4ad"),
        ("visa", r"No split_csv/1cls\.csv", "spot-diff"),
    ],
)
def test_a_missing_set_says_what_was_expected_and_where_it_is_had(
    tmp_path: Path, name: str, expected: str, page: str
) -> None:
    config = compose_config(f"dataset={name}", f"dataset.root={tmp_path}")
    with pytest.raises(DatasetError, match=rf"{expected}.*{page}.*dataset\.root"):
        build(config.dataset).scan()


@pytest.mark.parametrize("name", ["aitex", "btad", "dagm", "elpv", "mpdd", "real_iad", "visa"])
def test_an_unknown_category_lists_those_there_are(tmp_path: Path, name: str) -> None:
    dataset = make(name, tmp_path)
    known, dataset.category = dataset.category, "nothing"
    with pytest.raises(DatasetError, match=rf"no category 'nothing'.* There are: .*{known}"):
        dataset.scan()


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("aitex", "Mask_images/0001_002_00_mask.png"),
        ("btad", "03/ground_truth/ko/0001.bmp"),
        ("csv", "truth/1.png"),
        ("kolektor_sdd", "kos02/Part1_label.bmp"),
        ("kolektor_sdd2", "test/20002_GT.png"),
        ("mvtec_loco", "pushpins/ground_truth/logical_anomalies/1/000.png"),
        ("real_iad", "realiad_1024/audiojack/NG/AK/S0005/audiojack_0005_AK_C1_20231023.png"),
        ("visa", "candle/Data/Masks/Anomaly/001.png"),
    ],
)
def test_a_missing_mask_is_an_error(tmp_path: Path, name: str, mask: str) -> None:
    dataset = make(name, tmp_path)
    (tmp_path / mask).unlink()
    with pytest.raises(DatasetError, match=r"has no mask|are missing"):
        dataset.scan()


@pytest.mark.parametrize("half", ["Train", "Test"])
def test_without_labels_defective_images_are_not_taken_for_good_ones(
    tmp_path: Path, half: str
) -> None:
    dataset = make("dagm", tmp_path)
    shutil.rmtree(tmp_path / "Class1" / half / "Label")
    with pytest.raises(DatasetError, match=rf"{half}/Label is missing.*incomplete"):
        dataset.scan()


@pytest.mark.parametrize("name", ["kolektor_sdd2", "visa"])
def test_a_folder_above_the_set_will_do(tmp_path: Path, name: str) -> None:
    dataset = make(name, tmp_path / "archive")
    dataset.root = tmp_path
    assert len(dataset.scan().train) >= 3


def test_damaged_files_are_named(tmp_path: Path) -> None:
    dataset = make("real_iad", tmp_path)
    table = tmp_path / "realiad_jsons/realiad_jsons/audiojack.json"
    for text in ("{", "{}", "[]"):
        table.write_text(text)
        with pytest.raises(DatasetError, match=r"audiojack\.json cannot be read"):
            dataset.scan()
    dataset = make("kolektor_sdd", tmp_path)
    (tmp_path / "kos01/Part0_label.bmp").write_text("no image")
    with pytest.raises(DatasetError, match=r"Part0_label\.bmp cannot be read"):
        dataset.scan()
    dataset = make("elpv", tmp_path)
    (tmp_path / "labels.csv").write_text("images/cell0001.png,0.0,mono")
    with pytest.raises(DatasetError, match="rows other than path, probability and kind"):
        dataset.scan()
    dataset = make("aitex", tmp_path)
    save_images(tmp_path / "Defect_images", "fabric.png")
    with pytest.raises(DatasetError, match=r"fabric\.png is not named"):
        dataset.scan()


def test_loco_masks_count_together(tmp_path: Path) -> None:
    dataset = make("mvtec_loco", tmp_path)
    save_masks(tmp_path / "pushpins/ground_truth/logical_anomalies/0", "002.png", level=254)
    first = next(sample for sample in dataset.scan().test if sample.label)
    assert [path.name for path in first.mask_paths] == ["000.png", "001.png", "002.png"]


def test_the_installed_package_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    MAKERS["elpv"](tmp_path / "elpv_dataset/data")
    (tmp_path / "elpv_dataset/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    dataset = build(compose_config("dataset=elpv").dataset)
    assert dataset.root == tmp_path / "elpv_dataset/data"
    assert len(dataset.scan().train) == 4
