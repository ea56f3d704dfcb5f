import csv

import pytest
import torch

from fre_lightning.detector.builder import restore_model
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.experiment import run
from fre_lightning.images.reading import read_image


@pytest.mark.parametrize("scoring", ["paper", "topk"])
def test_forward_gives_the_scores_of_the_run(make_config, mvtec, tmp_path, scoring):
    cfg = make_config(f"scoring={scoring}")
    run(cfg)
    with (tmp_path / "run/scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    module = restore_model(read_checkpoint(tmp_path / "run"))
    images = torch.stack([read_image(mvtec / row["path"], module.image_size) for row in rows])
    with torch.inference_mode():
        scores, anomaly_maps = module(images)
    expected = torch.tensor([float(row["score"]) for row in rows])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=0)
    assert anomaly_maps.shape == (len(rows), *module.image_size)
