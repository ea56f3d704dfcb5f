import shutil

import numpy as np
import pytest
from PIL import Image

from fre_lightning.errors import ConfigError
from fre_lightning.experiment import run
from tests.experiment.conftest import read_scores


def test_random_weights_are_named(make_config, capsys):
    model = ("model=resnet18", "model.weights=random", "model.image_size=64")
    summary = run(make_config(model=model))
    assert summary["weights"] == "random (seed 0)"
    assert "random weights!" in capsys.readouterr().out


@pytest.mark.parametrize("scoring", ["paper", "topk"])
def test_the_threshold_comes_from_training_images_alone(make_config, output_dir, scoring, mvtec):
    summary = run(make_config("false_alarm_rate=0.2", f"scoring={scoring}"))
    rows = read_scores(output_dir)
    called = [float(row["score"]) > summary["threshold"] for row in rows]
    labels = [row["label"] == "1" for row in rows]
    assert summary["accuracy"] == np.mean(np.equal(called, labels))
    assert summary["recall"] == np.mean([c for c, bad in zip(called, labels, strict=True) if bad])
    for path in (mvtec / "part/test").glob("*/*.png"):  # other test images, same threshold
        Image.open(path).rotate(90).save(path)
    shutil.rmtree(mvtec / "part/ground_truth")
    again = run(make_config("false_alarm_rate=0.2", f"scoring={scoring}"))
    assert again["threshold"] == summary["threshold"]


def test_a_rate_that_too_few_images_can_show_is_extrapolated(make_config, caplog):
    summary = run(make_config("false_alarm_rate=0.01"))
    assert "takes 99 good images" in caplog.text
    assert summary["threshold"] > 0
    with pytest.raises(ConfigError, match="false_alarm_rate"):
        run(make_config("false_alarm_rate=2"))
