import json
from pathlib import Path

import pytest

from fre_lightning.errors import OutputError
from fre_lightning.files import (
    make_output_dir,
    relative_path,
    remove_leftovers,
    replacing,
    write_json,
)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"é": 1})
    with pytest.raises(TypeError), replacing(path) as temporary:
        temporary.write_text("half") + "the rest"
    assert json.loads(path.read_text(encoding="utf-8")) == {"é": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"paths\.output_dir"):
        make_output_dir(str(tmp_path / "file/run"))
    assert make_output_dir(str(tmp_path / "a/b")).is_dir()


def test_names_are_kept_within_the_root():
    assert relative_path(Path("/data/a/b.png"), Path("/data")) == Path("a/b.png")
    assert relative_path(Path("/other/b.png"), Path("/data")) == Path("other/b.png")
    assert relative_path(Path("/data/../other/b.png"), Path("/data")) == Path("other/b.png")
    assert relative_path(Path("/data/a/b.png").relative_to("/"), Path("data")) == Path("a/b.png")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    kept = tmp_path / "a/b.tmp"
    kept.parent.mkdir()
    kept.write_text("")
    with replacing(tmp_path / "a/c.json") as temporary:
        temporary.write_text("half")
        remove_leftovers(tmp_path)
        temporary.write_text("whole")
    assert {*tmp_path.rglob("*.*")} == {kept, tmp_path / "a/c.json"}


def test_leftovers_of_sub_folders_stay_if_these_are_not_ours(tmp_path):
    ours, theirs, other = (
        tmp_path / name for name in (".c.json.7.tmp", "a/.c.json.7.tmp", ".c.tmp")
    )
    (tmp_path / "a").mkdir()
    for path in (ours, theirs, other):
        path.write_text("")
    remove_leftovers(tmp_path, deep=False)
    assert [path.exists() for path in (ours, theirs, other)] == [False, True, True]
