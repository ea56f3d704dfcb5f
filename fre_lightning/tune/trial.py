"""The trial of a candidate: what good images alone say of it."""

import time
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from fre_lightning.config import build
from fre_lightning.datasets import Sample
from fre_lightning.detector.builder import build_model, detector_config
from fre_lightning.errors import DatasetError
from fre_lightning.experiment.batches import FeatureBatches
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.experiment.extraction import load_features
from fre_lightning.experiment.job import fit
from fre_lightning.experiment.module import FREModule
from fre_lightning.experiment.sizing import with_image_size
from fre_lightning.experiment.trainer import make_trainer
from fre_lightning.experiment.training_images import counting_regions, named_groups, new_model
from fre_lightning.features.cache import CachedRows
from fre_lightning.images.header import read_headers
from fre_lightning.images.pasted_defects import PastedDefects
from fre_lightning.metrics.curves import auroc, count
from fre_lightning.progress import progress
from fre_lightning.scoring.groups import deal_groups

_MIN_IMAGES = 8


class Trial(NamedTuple):
    """What a trial found, means over folds.

    Attributes:
        spread: Standard deviation over mean of held-out scores of the images that are learnt.
        auroc: How well images that are not learnt are told from their copies with drawn defects.
        seconds: What it took.
    """

    spread: float
    auroc: float
    seconds: float


def run_trial(cfg: DictConfig) -> Trial:
    """Learn from some of the training images and judge the others, fold by fold.

    Args:
        cfg: A run's, with the group `tune`.

    Raises:
        FREError: As a run does, and if there are too few images.
    """
    start = time.perf_counter()
    datamodule: AnomalyDataModule = build(cfg.datamodule, _partial_=True)(build(cfg.dataset))
    datamodule.setup()
    train, cache = datamodule.splits.train, build(cfg.cache)
    paths = [sample.path for sample in train]
    headers = read_headers(paths, datamodule.n_threads)
    cfg = with_image_size(cfg, headers)
    model = new_model(cfg, datamodule, headers, cache)
    roi = datamodule.dataset.roi
    shared = roi if roi is not None and roi.is_file() else None
    files = [sample.region_path or shared for sample in train]
    kinds = [str(kind) for kind in cfg.tune.kinds]
    drawn = [PastedDefects(paths, turn, kinds, files) for turn in range(cfg.tune.n_turns)]
    turns = [None, *drawn]
    trainer = make_trainer(cfg)
    rows = [load_features("train", model, datamodule, cache, trainer, turn) for turn in turns]
    samples = [train[index] for index in rows[0][0].indices]
    groups = named_groups(model, datamodule, rows[0])
    regions = counting_regions(model, datamodule, rows[0])
    spreads, aurocs = [], []
    for held_out in progress(draw_folds(len(samples), cfg.tune.n_folds, groups), "Folds"):
        own = build_model(cfg)  # a copy of one that has computed features would copy its engine
        own.intensity = model.intensity
        module = FREModule(
            own,
            [_take(layer, ~held_out) for layer in rows[0]],
            build(cfg.augmentation),
            detector_config(cfg),
            cfg.false_alarm_rate,
            None if groups is None else torch.unique(groups[~held_out], return_inverse=True)[1],
            regions if regions is None or len(regions) == 1 else regions[~held_out],
        )
        fit(module, make_trainer(cfg))
        learnt = module.model.calibration.image_scores
        spreads.append(float(learnt.std() / learnt.mean()))
        judged = [sample for sample, is_held in zip(samples, held_out, strict=True) if is_held]
        good, *spoilt = (_scores(module, judged, [_take(r, held_out) for r in rs]) for rs in rows)
        types = [turn.kind(sample.path) for turn in drawn for sample in judged]
        aurocs.append(_mean_auroc(good, torch.cat(spoilt), types))
    return Trial(fmean(spreads), fmean(aurocs), time.perf_counter() - start)


def draw_folds(n_images: int, n_folds: int, groups: Tensor | None = None) -> list[Tensor]:
    """Which images `(N,)` bool each fold holds out: images in a row, or whole groups.

    Neighbours in file order are often alike.

    Args:
        n_images: N.
        n_folds: The most folds.
        groups: `(N,)` int64 from 0 to G - 1, the group of each image, if they were named.

    Raises:
        DatasetError: If there are fewer than eight images, or two groups.
    """
    if n_images < _MIN_IMAGES or (groups is not None and int(groups.max()) < 1):
        msg = (
            f"Choosing takes at least {_MIN_IMAGES} good images, and two groups if they are named."
        )
        raise DatasetError(msg)
    in_a_row = torch.arange(n_images) * n_folds // n_images
    folds = in_a_row if groups is None else deal_groups(groups, n_folds)
    return [folds == fold for fold in range(int(folds.max()) + 1)]


def _take(rows: CachedRows, chosen: Tensor) -> CachedRows:
    """Some of the rows, `(N,)` bool."""
    parts = torch.split(chosen, [len(shard) for shard in rows.shards])
    shards = [s[part.numpy()] for s, part in zip(rows.shards, parts, strict=True) if part.any()]
    return CachedRows(shards, list(range(int(chosen.sum()))), [], was_computed=False)


@torch.inference_mode()
def _scores(module: FREModule, samples: Sequence[Sample], rows: Sequence[CachedRows]) -> Tensor:
    """Scores `(N,)` of images of which the features are known."""
    size = module.model.image_size
    batches = FeatureBatches(samples, rows, None, reads_masks=False, region_size=size)
    return torch.cat([module.score(batch)[1].cpu() for batch in batches])


def _mean_auroc(good: Tensor, spoilt: Tensor, kinds: Sequence[str]) -> float:
    """The mean over the kinds of defects, each against all good images."""
    values = []
    for kind in set(kinds):
        own = spoilt[torch.tensor([other == kind for other in kinds])]
        labels = torch.arange(len(good) + len(own)) >= len(good)
        values.append(float(auroc(*count(torch.cat([good, own]), labels))))
    return fmean(values)
