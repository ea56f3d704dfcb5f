"""Groups of images that the user names."""

from pathlib import Path

import pytest

from fre_lightning.datasets.groups import name_groups
from fre_lightning.errors import DatasetError

ROOT = Path("/parts")
PATHS = [ROOT / "monday" / "lot1_a.png", ROOT / "monday" / "lot2_a.png", ROOT / "lot1_b.png"]


def test_automatic_groups_are_not_named():
    assert name_groups("auto", PATHS, ROOT) is None
    assert name_groups("none", PATHS, ROOT) is None


def test_folders_are_groups():
    assert name_groups("folder", PATHS, ROOT) == ["monday", "monday", ""]


def test_an_expression_finds_the_group_in_the_name():
    assert name_groups(r"(lot\d)_", PATHS, ROOT) == ["lot1", "lot2", "lot1"]
    assert name_groups(r"lot\d", PATHS, ROOT) == ["lot1", "lot2", "lot1"]


@pytest.mark.parametrize(("rule", "flaw"), [("monday", "lot1_b.png"), ("lot(", "wrong")])
def test_an_expression_that_does_not_fit_is_refused(rule, flaw):
    with pytest.raises(DatasetError, match=flaw):
        name_groups(rule, PATHS, ROOT)


def test_a_table_names_groups_by_path_or_file_name(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("group,path\nA,monday/lot1_a.png\nB,lot2_a.png\nA,lot1_b.png\n")
    assert name_groups(str(table), PATHS, ROOT) == ["A", "B", "A"]


@pytest.mark.parametrize(
    ("text", "flaw"),
    [("path,group\nlot1_a.png,A\n", "2 of 3"), ("name,lot\na,b\n", "columns"), (None, "No such")],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, flaw):
    table = tmp_path / "groups.csv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(DatasetError, match=flaw):
        name_groups(str(table), PATHS, ROOT)
