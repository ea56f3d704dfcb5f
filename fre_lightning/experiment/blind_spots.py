"""The map of a run's blind spots: its images, its measurement, its files."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fre_lightning.datasets import Sample
from fre_lightning.detector.model import FREModel
from fre_lightning.files import write_json
from fre_lightning.images.reading import read_image
from fre_lightning.images.region import read_region
from fre_lightning.metrics.blind_spots import SPOT, find_blind_spots
from fre_lightning.pictures.thumbnails import draw_thumbnail
from fre_lightning.progress import progress
from fre_lightning.results import run_folder
from fre_lightning.threads import intra_op_threads

log = logging.getLogger(__name__)

_N_IMAGES = 3


def write_blind_spots(
    folder: Path,
    model: FREModel,
    samples: Sequence[Sample],
    scores: Tensor,
    threshold: float | None,
    n_threads: int,
) -> None:
    """Measure a model's blind spots on the good test images whose scores are the most usual.

    Args:
        folder: Where the map and a picture of one of the images are written.
        model: Fitted.
        samples: The test images.
        scores: `(N,)`, theirs.
        threshold: That of image scores; None if there is none.
        n_threads: CPU threads that compute.
    """
    chosen = [] if threshold is None else _most_usual(samples, scores, threshold)
    if threshold is None or not chosen:
        log.warning("No map of blind spots: it takes a threshold and good test images below it.")
        return

    model.accelerate(n_threads)
    with torch.inference_mode(), intra_op_threads(n_threads):
        maps = [
            _measure(model, samples[index], threshold) for index in progress(chosen, "Blind spots")
        ]
    model.release()
    found = torch.stack(maps).median(dim=0).values  # the lower one of two
    content: dict[str, Any] = {
        "contrast": [
            [None if math.isinf(c) else round(c, 1) for c in row] for row in found.tolist()
        ],
        "spot": round(SPOT * min(model.image_size), 1),
        "image_size": list(model.image_size),
        "threshold": threshold,
    }
    write_json(folder / run_folder.BLIND_SPOTS, content)
    picture = draw_thumbnail(samples[chosen[0]], intensity=model.intensity)
    if picture is not None:
        (folder / run_folder.BLIND_SPOTS_PICTURE).write_bytes(picture)


def _measure(model: FREModel, sample: Sample, threshold: float) -> Tensor:
    """The smallest contrasts on one image, in its region if it has one."""
    image = read_image(sample.path, model.image_size, model.intensity)
    region = None
    if sample.region_path is not None and model.region is not None:
        region = read_region(sample.region_path, sample.path, model.image_size)[None]
        region = region.to(model.device) & model.region

    def score(batch: Tensor) -> Tensor:
        own = None if region is None else region.expand(len(batch), -1, -1)
        scores: Tensor = model(batch, own)[0]
        return scores

    return find_blind_spots(score, image.to(model.device), threshold)


def _most_usual(samples: Sequence[Sample], scores: Tensor, threshold: float) -> list[int]:
    """Indices of good images below the threshold, nearest to the median of all good ones first."""
    good = [index for index, sample in enumerate(samples) if not sample.label]
    if not good:
        return []
    median = scores[good].median()
    below = [index for index in good if float(scores[index]) <= threshold]
    return sorted(below, key=lambda index: float((scores[index] - median).abs()))[:_N_IMAGES]
