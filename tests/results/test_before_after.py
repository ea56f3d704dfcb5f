"""What a detector says before and after, by hand-made scores."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fre_lightning.errors import DatasetError
from fre_lightning.results.before_after import Judgement, compare, find_images, warn_of_odd


def judgement(threshold, good, defective):
    detector = SimpleNamespace(
        false_alarm_rate=0.1,
        threshold=threshold,
        pixel_threshold=threshold,
        normal_scores=torch.tensor(good),
    )
    return Judgement(detector, torch.tensor(good), torch.tensor(defective))


def test_counts_are_of_scores_above_the_threshold():
    rows = compare(
        judgement(2.0, [1.0, 2.0, 3.0], [2.0, 5.0]), judgement(3.0, [1.0, 2.0, 3.0], [2.0, 5.0])
    )
    assert rows[0] == ("image threshold", "2", "3")
    assert rows[-2:] == [
        ("good parts stopped", "1 of 3", "0 of 3"),
        ("defective parts missed", "1 of 2", "1 of 2"),
    ]


def test_without_a_threshold_nothing_is_counted():
    rows = compare(*2 * [judgement(None, [1.0, 2.0], [3.0])])
    assert rows[0] == ("image threshold", "none", "none")
    assert rows[-1] == ("defective parts missed", "undecided", "undecided")


@pytest.mark.parametrize("factor", [1.0, 30.0])  # another day may raise the scores of all
def test_odd_parts_stand_out_from_the_others(factor, caplog):
    scores = factor * torch.tensor([1.0, 1.1, 0.9, 1.2, 1.0, 0.8, 9.0])
    paths = [Path(f"{i}.png") for i in range(7)]
    odd = warn_of_odd(paths, scores, [0.01] * 7)
    assert odd == [{"path": "6.png", "p_value": 0.01}]
    assert "6.png good?" in caplog.text
    assert warn_of_odd(paths[:6], scores[:6], [None] * 6) == []
    assert warn_of_odd(paths[:1], scores[:1], [0.5]) == []


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(DatasetError, match="Give a folder"):
        find_images("good", str(tmp_path / "a.png"))
