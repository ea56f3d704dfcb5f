"""What codecs, cameras and fixtures do to a detector: changed test images, judged again."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fre_lightning.datasets import Sample
from fre_lightning.detector.model import FREModel
from fre_lightning.files import write_json
from fre_lightning.images.changed import PerturbedImages
from fre_lightning.images.loader import ImageLoader, ImageReader
from fre_lightning.images.perturbations import PERTURBATIONS
from fre_lightning.images.reading import read_image
from fre_lightning.images.region import read_regions
from fre_lightning.metrics.curves import auroc, count
from fre_lightning.progress import progress
from fre_lightning.results import run_folder
from fre_lightning.threads import intra_op_threads

log = logging.getLogger(__name__)

_BATCH_SIZE = 16
AS_THEY_ARE = "as they are"


def write_robustness(
    folder: Path,
    model: FREModel,
    samples: Sequence[Sample],
    threshold: float | None,
    n_threads: int,
) -> None:
    """Measure what `PERTURBATIONS` do to a model's judgement of test images, and write it.

    Args:
        folder: Where the table is written.
        model: Fitted.
        samples: The test images.
        threshold: That of image scores; None if there is none.
        n_threads: CPU threads that decode, and that compute.
    """
    if threshold is None:
        log.warning("No table of robustness: it takes a threshold, and so more training images.")
        return
    write_json(folder / run_folder.ROBUSTNESS, measure(model, samples, threshold, n_threads))


def measure(
    model: FREModel, samples: Sequence[Sample], threshold: float, n_threads: int
) -> dict[str, dict[str, float | None]]:
    """Judge images as they are and changed in each of the ways of `PERTURBATIONS`.

    Args:
        model: Fitted.
        samples: Images that it has not learnt from.
        threshold: That of image scores.
        n_threads: CPU threads that decode, and that compute.

    Returns:
        For each way, in order: `stopped` and `found`, the shares of good and of defective images
        above the threshold, and `image_auroc`; None where there are no such images.
    """
    labels = torch.tensor([sample.label for sample in samples])
    model.accelerate(n_threads)
    rows = {}
    with torch.inference_mode(), intra_op_threads(n_threads):
        for name in progress([AS_THEY_ARE, *PERTURBATIONS], "Robustness"):
            scores = _scores(model, samples, name, n_threads)
            value = float(auroc(*count(scores, labels)))
            rows[name] = {
                "stopped": _share(scores[labels == 0] > threshold),
                "found": _share(scores[labels == 1] > threshold),
                "image_auroc": None if math.isnan(value) else value,
            }
    model.release()
    return rows


def _scores(model: FREModel, samples: Sequence[Sample], name: str, n_threads: int) -> Tensor:
    """The scores `(N,)` of images that are changed in one way."""
    read: ImageReader = read_image
    if name != AS_THEY_ARE:
        read = PerturbedImages([sample.path for sample in samples], name)
    loader = ImageLoader(
        samples, model.image_size, _BATCH_SIZE, n_threads, intensity=model.intensity, read=read
    )
    scores = []
    for indices, images in loader:
        regions = None
        if model.region is not None:
            own = read_regions([samples[index] for index in indices], model.image_size)
            regions = None if own is None else own.to(model.device) & model.region
        scores.append(model(images.to(model.device), regions)[0].cpu())
    return torch.cat(scores)


def _share(above: Tensor) -> float | None:
    return float(above.double().mean()) if len(above) else None
