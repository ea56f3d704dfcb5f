import csv
import os
from contextlib import closing

import pytest

from fre_lightning.errors import OutputError
from fre_lightning.predict.table import PredictionTable

COLUMNS = ("class", "score", "p_value", "is_unknown", "x0")
VALUES = {"class": "a, b", "score": 1 / 3, "p_value": 0.25, "is_unknown": True, "x0": 7}


def make_table(path, **options):
    return closing(PredictionTable(path, COLUMNS, **options))


def read(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


def test_a_row_is_on_disk_once_it_is_written(tmp_path):
    path = tmp_path / "predictions.csv"
    with make_table(path) as rows:
        assert read(path) == []
        rows.write_result("a, b.png", VALUES)
        (row,) = read(path)
    expected = {"path": "a, b.png", "class": "a, b", "score": "0.333333333", "p_value": "0.25"}
    expected |= {"is_unknown": "true", "x0": "7", "error": ""}
    assert list(row.items()) == list(expected.items())


def test_what_is_not_known_is_empty(tmp_path):
    with make_table(tmp_path / "t.csv") as rows:
        rows.write_result("a", dict.fromkeys(COLUMNS) | {"score": 2.0})
        rows.write_result("b", VALUES | {"is_unknown": False, "x0": 0})
    first, second = read(tmp_path / "t.csv")
    assert [key for key, value in first.items() if value] == ["path", "score"]
    assert (second["is_unknown"], second["x0"], second["error"]) == ("false", "0", "")


def test_an_error_is_one_line(tmp_path):
    with make_table(tmp_path / "t.csv") as rows:
        rows.write_error("a", ValueError("no\n  image,\tat all"))
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 2
    (row,) = read(tmp_path / "t.csv")
    assert {key: value for key, value in row.items() if value} == {
        "path": "a",
        "error": "no image, at all",
    }


def test_names_that_are_no_text_come_out_as_they_went_in(tmp_path):
    with make_table(tmp_path / "t.csv") as rows:
        rows.write_error(os.fsdecode(b"\xff.png"), ValueError("x"))
    assert b"\xff.png" in (tmp_path / "t.csv").read_bytes()


def test_a_table_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match=r"paths\.output_dir"):
        make_table(tmp_path / "nowhere/t.csv")


def test_a_table_of_a_watched_folder_goes_on(tmp_path):
    path = tmp_path / "t.csv"
    with make_table(path, watch=True) as rows:
        rows.write_result("a\nb", VALUES, "12.5")
    whole = path.read_bytes()
    for n_bytes in range(len(whole)):  # wherever a killed program left it
        path.write_bytes(whole[:n_bytes])
        with make_table(path, watch=True) as rows:
            assert list(rows.rows()) == []
            rows.write_error("c", ValueError("x"), "13.5")
            assert [(row["path"], row["modified"]) for row in rows.rows()] == [("c", "13.5")]
    path.write_bytes(whole)
    with make_table(path, watch=True) as rows:
        (row,) = rows.rows()
    assert (row["path"], row["modified"], row["p_value"]) == ("a\nb", "12.5", "0.25")


@pytest.mark.parametrize("content", ["path,score\n", "path,score\r\n", "x"])
def test_another_table_is_left_alone(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode())
    with pytest.raises(OutputError, match="no table of a watched folder"):
        make_table(path, watch=True)
    assert path.read_bytes() == content.encode()
