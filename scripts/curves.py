"""Curves that say how much the number of components, or of good images, matters.

python scripts/curves.py rank --out docs/rank.png model=resnet18 dataset=mtd dataset.root=DIR
python scripts/curves.py images --out docs/images.png model=scattering dataset=synthetic
python scripts/curves.py --help

Features are computed once, as in a run, and cached; each point is a fit of its own. What comes
after the options are overrides as of `python -m fre_lightning`. The figures go beside the picture.
"""

import argparse
import contextlib
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from omegaconf import DictConfig
from torch import Tensor

from fre_lightning.config import CONFIG_DIR, build
from fre_lightning.detector.builder import build_model
from fre_lightning.errors import FeatureError
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.experiment.extraction import load_features
from fre_lightning.experiment.trainer import make_trainer
from fre_lightning.features.cache import CachedRows
from fre_lightning.metrics.curves import auroc, count
from fre_lightning.progress import progress

SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999)
N_IMAGES = (1, 2, 5, 10, 20, 50, 100, 200)


class Point(NamedTuple):
    """One fit: where it stands on the axis, which draw it is, and how it did."""

    x: float
    draw: int
    n_components: int
    image_auroc: float


class Features(NamedTuple):
    """Of each layer the `(N, T, C, h, w)` features of both splits, and the test labels `(N,)`."""

    train: list[np.ndarray]
    test: list[np.ndarray]
    labels: Tensor


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("curve", choices=["rank", "images"])
    parser.add_argument("--out", type=Path, required=True, help="the picture, .png or .svg")
    parser.add_argument("--draws", type=int, default=5, help="of training images at each number")
    parser.add_argument("overrides", nargs="*", help="as of python -m fre_lightning")
    return parser.parse_intermixed_args()


def configure(overrides: Sequence[str]) -> DictConfig:
    """A configuration of the program, which writes nothing."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        output = f"paths.output_dir={tempfile.gettempdir()}"
        return compose("config", ["logger=none", "callbacks=none", output, *overrides])


def load_splits(
    cfg: DictConfig,
) -> tuple[AnomalyDataModule, list[CachedRows], list[CachedRows]]:
    """A dataset, and each layer's features of its training and its test images."""
    datamodule = build(cfg.datamodule, _partial_=True)(build(cfg.dataset))
    datamodule.setup()
    model, trainer = build_model(cfg), make_trainer(cfg)
    cache = build(cfg.cache)
    train, test = (
        load_features(split, model, datamodule, cache, trainer) for split in ("train", "test")
    )
    return datamodule, train, test


def load(cfg: DictConfig) -> Features:
    """All features of a dataset."""
    datamodule, train, test = load_splits(cfg)
    samples = datamodule.splits.test
    labels = torch.tensor([samples[index].label for index in test[0].indices])
    return Features(_join(train), _join(test), labels)


def _join(layers: Sequence[CachedRows]) -> list[np.ndarray]:
    return [np.concatenate(rows.shards, dtype=np.float32) for rows in layers]


@torch.inference_mode()
def evaluate(cfg: DictConfig, features: Features, chosen: np.ndarray) -> tuple[int, float]:
    """Fit on some training images: the number of components, and the image AUROC."""
    model = build_model(cfg)
    indices = list(range(len(chosen)))
    train = [CachedRows([rows[chosen]], indices, [], False) for rows in features.train]
    model.fit(train, torch.device("cpu"), build(cfg.augmentation))
    scores = []
    for start in range(0, len(features.labels), 64):
        batch = [torch.from_numpy(rows[start : start + 64]) for rows in features.test]
        scores.append(model.scoring.image_score(model.error_maps_of(batch)))
    positives, negatives = count(torch.cat(scores), features.labels)
    return model.reducers[0].n_components, float(auroc(positives, negatives))


def rank_curve(overrides: Sequence[str], features: Features) -> list[Point]:
    """Over shares of the variance, on all training images."""
    everything = np.arange(len(features.train[0]))
    points = []
    for share in progress(SHARES, "Fits"):
        cfg = configure([*overrides, f"reducer.n_components={share}"])
        points.append(Point(share, 0, *evaluate(cfg, features, everything)))
    return points


def image_curve(overrides: Sequence[str], features: Features, n_draws: int) -> list[Point]:
    """Over numbers of training images, drawn at random several times."""
    n_train = len(features.train[0])
    numbers = [n for n in N_IMAGES if n < n_train] + [n_train]
    cfg, points = configure(overrides), []
    draws = [(n, draw) for n in numbers for draw in range(n_draws if n < n_train else 1)]
    for number, draw in progress(draws, "Fits"):
        chosen = np.sort(np.random.default_rng(draw).choice(n_train, number, replace=False))
        with contextlib.suppress(FeatureError):  # one image, and no shifted copies of it
            points.append(Point(number, draw, *evaluate(cfg, features, chosen)))
    return points


def plot(curves: dict[str, list[Point]], kind: str, title: str) -> Figure:
    """Mean and spread of the image AUROC of each curve."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        xs = sorted({point.x for point in points})
        drawn = [[p.image_auroc for p in points if p.x == x] for x in xs]
        mean, spread = (np.array([f(values) for values in drawn]) for f in (np.mean, np.std))
        places = np.arange(len(xs)) if kind == "rank" else xs
        axes.plot(places, mean, marker="o", label=name)
        axes.fill_between(places, mean - spread, mean + spread, alpha=0.2)
        if kind == "rank":
            components = [next(p.n_components for p in points if p.x == x) for x in xs]
            ticks = [f"{x:g}\n{k}" for x, k in zip(xs, components, strict=True)]
            axes.set_xticks(places, ticks, fontsize=8)
    if kind == "images":
        axes.set_xscale("log")
        axes.set_xticks(xs, [f"{x:g}" for x in xs], fontsize=8)
        axes.minorticks_off()
    axes.set_xlabel(
        "share of the variance (below: components)" if kind == "rank" else "good training images"
    )
    axes.set_ylabel("image AUROC")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main() -> None:
    """Measure both scorings, plot, and write the numbers beside the picture."""
    arguments = parse_arguments()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    curves, title = {}, ""
    for scoring in ("paper", "topk"):
        overrides = [*arguments.overrides, f"scoring={scoring}"]
        cfg = configure(overrides)
        features = load(cfg)
        title = (
            f"{cfg.dataset.category}, {cfg.model.name}, {cfg.reducer._target_.rpartition('.')[2]}"
        )
        curves[scoring] = (
            rank_curve(overrides, features)
            if arguments.curve == "rank"
            else image_curve(overrides, features, arguments.draws)
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    plot(curves, arguments.curve, title).savefig(arguments.out, dpi=110)
    numbers = {name: [point._asdict() for point in points] for name, points in curves.items()}
    arguments.out.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")
    print(f"{arguments.out} and {arguments.out.with_suffix('.json')}")


if __name__ == "__main__":
    main()
