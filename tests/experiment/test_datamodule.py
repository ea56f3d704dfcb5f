from pathlib import Path

import pytest

from fre_lightning.datasets import Sample, Splits
from fre_lightning.errors import ConfigError
from fre_lightning.experiment.datamodule import AnomalyDataModule


class Listed:
    skip_unreadable = False
    files_root = Path()
    roi = None

    def scan(self):
        train = [Sample(Path(f"{i}.png")) for i in range(5)]
        test = [Sample(Path(f"{kind}{i}.png"), kind) for kind in ("good", "dent") for i in range(4)]
        return Splits(train, test, has_masks=False)


def test_the_limit_holds_for_training_and_for_each_defect_type():
    datamodule = AnomalyDataModule(Listed(), 4, 1, 3)
    datamodule.setup()
    assert [sample.path.name for sample in datamodule.splits.train] == ["0.png", "1.png", "2.png"]
    types = [sample.defect_type for sample in datamodule.splits.test]
    assert types == ["good"] * 3 + ["dent"] * 3


@pytest.mark.parametrize(("batch_size", "limit"), [(0, None), (1, 0)])
def test_numbers_must_be_positive(batch_size, limit):
    with pytest.raises(ConfigError, match="must be positive"):
        AnomalyDataModule(Listed(), batch_size, 1, limit)
