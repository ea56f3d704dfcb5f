"""What every dataset must do: each file of `configs/dataset` is tested on a small folder."""

from pathlib import Path

import pytest

from fre_lightning.config import build
from fre_lightning.datasets import AnomalyDataset
from fre_lightning.images.masks import read_mask
from tests.configs import compose_config, names
from tests.datasets.layouts import MAKERS

WITHOUT_MASKS = {"elpv"}


@pytest.fixture(params=names("dataset"))
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> AnomalyDataset:
    name = request.param
    if name not in MAKERS:
        pytest.fail(
            f"Nothing is known of configs/dataset/{name}.yaml: add to MAKERS in layouts.py a "
            "function that fills a folder with a few of its images and returns its settings."
        )
    settings = MAKERS[name](tmp_path) | {"root": str(tmp_path)}
    node = compose_config(f"dataset={name}", f"dataset.root={tmp_path}").dataset
    dataset = build(node, **settings)
    assert isinstance(dataset, AnomalyDataset)
    return dataset


@pytest.fixture
def has_masks(request: pytest.FixtureRequest) -> bool:
    return request.node.callspec.params["dataset"] not in WITHOUT_MASKS


def test_there_are_both_splits_and_they_share_no_image(dataset: AnomalyDataset) -> None:
    train, test, _ = dataset.scan()
    assert len(train) >= 3
    assert {sample.label for sample in test} == {0, 1}
    paths = [sample.path for sample in (*train, *test)]
    assert len({path.resolve() for path in paths}) == len(paths)
    for path in paths:
        assert path.is_file()
        assert path.is_relative_to(dataset.files_root)  # as tables and caches call it
    assert dataset.category


def test_good_images_alone_are_learnt_from(dataset: AnomalyDataset) -> None:
    for sample in dataset.scan().train:
        assert (sample.label, sample.defect_type, sample.mask_paths) == (0, "good", ())


def test_labels_and_masks_agree(dataset: AnomalyDataset, has_masks: bool) -> None:
    splits = dataset.scan()
    assert splits.has_masks == has_masks
    masks = [path for sample in splits.test for path in sample.mask_paths]
    assert len(set(masks)) == len(masks)
    for sample in splits.test:
        assert (sample.label == 1) == (sample.defect_type != "good")
        assert (sample.mask_paths != ()) == (sample.label == 1 and has_masks)
        if sample.mask_paths:
            assert sample.path not in sample.mask_paths
            assert read_mask(sample.mask_paths, sample.path).any()
            for path in sample.mask_paths:
                assert (
                    path.stem.startswith(sample.path.stem) or path.parent.name == sample.path.stem
                )


def test_order_is_sorted_within_a_kind_and_the_same_again(dataset: AnomalyDataset) -> None:
    train, test, _ = splits = dataset.scan()
    assert [sample.path for sample in train] == sorted(sample.path for sample in train)
    types = [sample.defect_type for sample in test]
    changes = [a for a, b in zip(types, [*types[1:], None], strict=True) if a != b]
    assert len(set(changes)) == len(changes)  # one block for each kind, the good ones first
    assert types[0] == "good"
    for defect_type in changes:
        paths = [sample.path for sample in test if sample.defect_type == defect_type]
        assert paths == sorted(paths)
    assert dataset.scan() == splits


@pytest.mark.parametrize("name", names("dataset"))
def test_numbers_are_names_of_folders(name: str) -> None:
    config = compose_config(f"dataset={name}", "dataset.root=2024", "dataset.category=10")
    dataset = build(config.dataset)
    assert (dataset.root, dataset.category) == (Path("2024"), "10")
