import csv
import os
from contextlib import closing

import numpy as np
import pytest

from fre_lightning.detector.result import Box, DetectionResult
from fre_lightning.errors import OutputError
from fre_lightning.predict.table import PredictionTable


def make_result(**changes):
    values = {"score": 1 / 3, "p_value": 0.25, "threshold": 0.3, "is_defective": True}
    values |= {"pixel_threshold": 0.1, "box": Box(1, 2, 3, 4), "image_size": (8, 9)}
    values |= {"anomaly_map": np.zeros((2, 2), np.float32), "pixels": np.zeros((2, 2, 3), np.uint8)}
    return DetectionResult(**values | changes)


def read(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


def test_a_row_is_on_disk_once_it_is_written(tmp_path):
    path = tmp_path / "predictions.csv"
    with closing(PredictionTable(path)) as table:
        assert read(path) == []
        table.write_result("a, b.png", make_result())
        (row,) = read(path)
    box = {"x0": "1", "y0": "2", "x1": "3", "y1": "4"}
    numbers = {"score": "0.333333333", "p_value": "0.25", "threshold": "0.3"}
    expected = {"path": "a, b.png", **numbers, "is_defective": "true", **box, "error": ""}
    assert list(row.items()) == list(expected.items())


def test_what_is_not_known_is_empty(tmp_path):
    nothing = dict.fromkeys(("p_value", "threshold", "is_defective", "pixel_threshold", "box"))
    with closing(PredictionTable(tmp_path / "t.csv")) as table:
        table.write_result("a", make_result(**nothing))
        table.write_result("b", make_result(is_defective=False, box=None))
    first, second = read(tmp_path / "t.csv")
    assert [key for key, value in first.items() if value] == ["path", "score"]
    assert (second["is_defective"], second["x0"], second["error"]) == ("false", "", "")


def test_an_error_is_one_line(tmp_path):
    with closing(PredictionTable(tmp_path / "t.csv")) as table:
        table.write_error("a", ValueError("no\n  image,\tat all"))
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 2
    (row,) = read(tmp_path / "t.csv")
    assert {key: value for key, value in row.items() if value} == {
        "path": "a",
        "error": "no image, at all",
    }


def test_names_that_are_no_text_come_out_as_they_went_in(tmp_path):
    with closing(PredictionTable(tmp_path / "t.csv")) as table:
        table.write_error(os.fsdecode(b"\xff.png"), ValueError("x"))
    assert b"\xff.png" in (tmp_path / "t.csv").read_bytes()


def test_a_table_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match=r"paths\.output_dir"):
        PredictionTable(tmp_path / "nowhere/t.csv")


def test_a_table_of_a_watched_folder_goes_on(tmp_path):
    path = tmp_path / "t.csv"
    with closing(PredictionTable(path, watch=True)) as table:
        table.write_result("a\nb", make_result(), "12.5")
    whole = path.read_bytes()
    for n_bytes in range(len(whole)):  # wherever a killed program left it
        path.write_bytes(whole[:n_bytes])
        with closing(PredictionTable(path, watch=True)) as table:
            assert list(table.rows()) == []
            table.write_error("c", ValueError("x"), "13.5")
            assert [(row["path"], row["modified"]) for row in table.rows()] == [("c", "13.5")]
    path.write_bytes(whole)
    with closing(PredictionTable(path, watch=True)) as table:
        (row,) = table.rows()
    assert (row["path"], row["modified"], row["p_value"]) == ("a\nb", "12.5", "0.25")


@pytest.mark.parametrize("content", ["path,score\n", "path,score\r\n", "x"])
def test_another_table_is_left_alone(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode())
    with pytest.raises(OutputError, match="no table of a watched folder"):
        PredictionTable(path, watch=True)
    assert path.read_bytes() == content.encode()
