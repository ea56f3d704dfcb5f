"""The images of a run, and their features."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig

from fre_lightning.config import build
from fre_lightning.datasets import Sample
from fre_lightning.experiment.extraction import ImageSet, load_set
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.images.changed import PerturbedImages
from fre_lightning.ood.known import ClassSplits, Labelled, hold_out
from fre_lightning.ood.model import OODModel
from fre_lightning.ood.unknown import KNOWN, NamedSet
from fre_lightning.threads import default_n_threads

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

log = logging.getLogger(__name__)


class RunImages(NamedTuple):
    """The images of a run, and what their paths are relative to."""

    known: ClassSplits
    fitted_on: Labelled
    held_out: Labelled
    unknown: list[NamedSet]
    root: Path

    @property
    def samples(self) -> list[Sample]:
        """All of them."""
        unknown = [sample for one in self.unknown for sample in one.samples]
        return [
            *self.fitted_on.samples,
            *self.held_out.samples,
            *self.known.test.samples,
            *unknown,
        ]


def list_images(cfg: DictConfig) -> RunImages:
    """List all images, and say how many there are.

    Raises:
        FREError: As the sets do.
    """
    known: ClassSplits = build(cfg.known).scan()
    unknown: list[NamedSet] = build(cfg.unknown).scan(known)
    fitted_on, held_out = hold_out(known.train, cfg.held_out, cfg.seed)
    log.info(
        "%d classes: %d images to learn from, %d held out, %d to test on. Unknown: %s",
        len(known.classes),
        len(fitted_on.labels),
        len(held_out.labels),
        len(known.test.labels),
        ", ".join(f"{len(one.samples)} {one.name}" for one in unknown),
    )
    return RunImages(known, fitted_on, held_out, unknown, Path(str(cfg.known.root)).expanduser())


def image_set(cfg: DictConfig, images: RunImages, one: NamedSet) -> ImageSet:
    """Images of any kind, to extract features of."""
    name, n_threads = f"ood-{one.name.replace(' ', '-')}", cfg.n_threads or default_n_threads()
    title = f"images, {one.name}"
    paths = [sample.path for sample in one.samples]
    changed = None if one.change is None else PerturbedImages(paths, one.change)
    return ImageSet(
        name, title, one.samples, images.root, cfg.batch_size, n_threads, changed=changed
    )


def extract(
    cfg: DictConfig, model: OODModel, images: RunImages, trainer: "Trainer"
) -> list[list[FeatureMatrix]]:
    """Features of each layer: of images to learn from, held-out, test and unknown ones."""
    cache, known = build(cfg.cache), images.known.test.samples
    sets = [NamedSet("to learn from", KNOWN, images.fitted_on.samples)]
    if images.held_out.samples:
        sets.append(NamedSet("held out", KNOWN, images.held_out.samples))
    sets += [NamedSet(KNOWN, KNOWN, known), *images.unknown]
    rows = [load_set(image_set(cfg, images, one), model, cache, trainer) for one in sets]
    return [[FeatureMatrix(layer.shards) for layer in layers] for layers in rows]
