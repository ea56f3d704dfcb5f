from pathlib import Path
from typing import Any

import pytest

from fre_lightning.datasets import Splits, Table
from fre_lightning.errors import DatasetError
from tests.datasets.files import save_images, save_masks, write

ROWS = (
    "path,label,split,mask\na/1.png,good,train,\na/0.png,good,train,\na/2.png,dent,train,m/2.png\n"
)
ROWS += "a/3.png,good,test,\na/4.png,dent,test,m/4.png\na/5.png,good,validation,\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_images(tmp_path / "a", *(f"{i}.png" for i in range(6)))
    save_masks(tmp_path / "m", "2.png", "4.png")
    return tmp_path


def scan(root: Path, text: str = ROWS, **settings: Any) -> Splits:
    write(root / "table.csv", text)
    columns = {"table": "table.csv", "path": "path", "label": "label", "good_labels": ["good"]}
    more = {"split": "split", "mask": "mask", "test_fraction": 0.25, "seed": 0}
    return Table(root, None, False, "auto", None, **(columns | more | settings)).scan()


def names(splits: Splits) -> tuple[list[str], list[str]]:
    return [s.path.name for s in splits.train], [s.path.name for s in splits.test]


def test_splits_are_sorted_and_other_rows_left_out(root: Path) -> None:
    splits = scan(root)
    assert names(splits) == (["0.png", "1.png"], ["3.png", "4.png"])
    assert splits.test[1].mask_paths == (root / "m/4.png",)
    assert splits.has_masks


def test_columns_and_labels_have_any_name(root: Path) -> None:
    text = "\ufeffFile; Class,Where\n".replace(";", ",")
    text += f"a/0.png,0,Train\n{root / 'a/1.png'},0,TEST\na/2.png,1,test\n"
    settings = {"path": "File", "label": "Class", "split": "Where", "mask": None}
    splits = scan(root, text, good_labels=[0], **settings)
    assert names(splits) == (["0.png"], ["1.png", "2.png"])
    assert [sample.defect_type for sample in splits.test] == ["good", "1"]
    assert not splits.has_masks


def test_without_a_split_good_images_are_drawn(root: Path) -> None:
    splits = scan(root, split=None)
    assert (len(splits.train), len(splits.test)) == (3, 3)
    assert splits == scan(root, split=None)
    assert [s.path.name for s in splits.test if s.label] == ["2.png", "4.png"]


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("path,label\n", "no column split; it has path, label"),
        ("", "it has none"),
        ("path,label,split,mask\n", "no good image to learn from"),
        (ROWS + "a/9.png,good,test,\n", r"1 of 8 files .* are missing, .*a/9\.png"),
        (ROWS + "a/5.png,dent,test,\n", r"1 of 2 defective images .* have no mask, .*5\.png"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(root: Path, text: str, flaw: str) -> None:
    with pytest.raises(DatasetError, match=flaw):
        scan(root, text)


def test_a_missing_table_is_named(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.csv cannot be read"):
        scan(root, table="none.csv")
