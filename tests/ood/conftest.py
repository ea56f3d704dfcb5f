"""A run on images of ramps, and whatever else is to be run on them."""

import csv

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from fre_lightning.config import CONFIG_DIR
from fre_lightning.ood.job import run


def draw(folder, n, rng, slope):
    """Ramps along one of the axes, with noise; slope None: noise alone."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:8, :8]
    for i in range(n):
        levels = rng.integers(0, 256, (8, 8))
        if slope is not None:
            levels = 60 + 16 * (slope[0] * x + slope[1] * y) + rng.normal(0, 12, (8, 8))
        Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:02d}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("ood"), np.random.default_rng(0)
    for name, slope in (("flat", (0, 0)), ("right", (1, 0)), ("up", (0, 1))):
        draw(root / "known/train" / name, 40, rng, slope)
        draw(root / "known/test" / name, 12, rng, slope)
    draw(root / "steep", 20, rng, (0.8, 0.8))
    draw(root / "noise", 20, rng, None)
    return root


@pytest.fixture(scope="module")
def call(data):
    def run_job(name, *overrides):
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            settings = [
                "known=folder",
                f"known.root={data / 'known'}",
                "unknown=folders",
                f"unknown.near=[{data / 'steep'}]",
                f"unknown.far=[{data / 'noise'}]",
                "unknown.corruptions=[inverted]",
                "classifier.image_size=8",
                "training.epochs=12",
                "training.batch_size=16",
                "methods.knn.k=5",
                "trainer=cpu",
                "n_threads=1",
                "held_out=0.5",
                f"paths.cache_dir={data / 'cache'}",
                f"paths.output_dir={data / name}",
            ]
            is_small = not any(each.startswith("classifier=") for each in overrides)
            small = ["classifier.width=4"] if is_small else []
            return run(compose("ood", [*small, *settings, *overrides]))

    return run_job


@pytest.fixture(scope="module")
def finished(data, call):
    return data / "run", call("run")


def read(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))
