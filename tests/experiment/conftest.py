"""What the tests of runs share."""

import csv

import pytest

SEVERAL = ("model=resnet18", "model.weights=random", "model.image_size=64")


@pytest.fixture
def output_dir(tmp_path):
    return tmp_path / "run"


def read_scores(folder):
    with (folder / "scores.csv").open() as stream:
        return list(csv.DictReader(stream))
