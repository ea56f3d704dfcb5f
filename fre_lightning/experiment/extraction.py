"""Features of a split, read from the cache or extracted by Lightning's predict loop."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pytorch_lightning import LightningModule, Trainer

from fre_lightning.backbones import Backbone
from fre_lightning.datasets import Sample
from fre_lightning.detector.model import FREModel
from fre_lightning.errors import FeatureError
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.features.cache import CachedRows, CacheEntry, FeatureCache
from fre_lightning.features.shards import ShardWriter
from fre_lightning.files import file_key
from fre_lightning.images.loader import ImageBatch
from fre_lightning.images.pasted_defects import PastedDefects
from fre_lightning.images.reading import read_image
from fre_lightning.images.resizing import PREPROCESSING
from fre_lightning.progress import progress

log = logging.getLogger(__name__)


class FeatureExtraction(LightningModule):
    """Computes features of some layers, and writes each batch to the cache at once.

    Args:
        model: Holds the backbones.
        backbone_layers: The model's layers to extract.
        writers: One for each of these layers.
        samples: The split.
        cache_dir: Where engines that take long to build are kept.
    """

    def __init__(
        self,
        model: FREModel,
        backbone_layers: Sequence[tuple[Backbone, str]],
        writers: Sequence[ShardWriter],
        samples: Sequence[Sample],
        cache_dir: Path,
    ) -> None:
        super().__init__()
        self.model = model
        self._backbone_layers = backbone_layers
        self._writers = writers
        self._samples = samples
        self._cache_dir = cache_dir

    def on_predict_start(self) -> None:
        """Build the engines, on the trainer's device."""
        n_threads, precision = torch.get_num_threads(), str(self.trainer.precision)
        self.model.accelerate(n_threads, precision, self._backbone_layers, self._cache_dir)

    def predict_step(self, batch: ImageBatch) -> None:
        """Store pooled features `(N, T, C, h, w)` of images, of each layer.

        Raises:
            FeatureError: If a feature is not a finite number.
        """
        layers = self.model.features_of(batch.images)
        for features, writer in zip(layers, self._writers, strict=True):
            finite = features.isfinite().flatten(1).all(dim=1)
            if not finite.all():
                path = self._samples[batch.indices[int((~finite).nonzero()[0])]].path
                msg = (
                    f"The backbone's features of {path} are not all finite numbers. Check the "
                    "weights file, and run with trainer.precision=32-true."
                )
                raise FeatureError(msg)
            writer.append(features.float().cpu().numpy(), batch.indices)


def load_features(
    split: str,
    model: FREModel,
    datamodule: AnomalyDataModule,
    cache: FeatureCache,
    trainer: Trainer,
    defects: PastedDefects | None = None,
) -> list[CachedRows]:
    """Pooled features `(T, C, h, w)` of a split, read from the cache or computed into it.

    Args:
        split: `train` or `test`.
        model: Holds the backbones.
        datamodule: Holds the samples.
        cache: Where features are kept, those of each layer in an entry of their own.
        trainer: Runs the backbones; not called if nothing is missing.
        defects: Draws a defect on each image; None: they stay as they are.

    Returns:
        The rows of each layer, as `model.backbone_layers` lists them.

    Raises:
        UnreadableImageError: If an image cannot be decoded and is not to be left out.
        FeatureError: If a feature is not a finite number.
        CacheError: If the cache cannot be written.
    """
    samples, dataset = getattr(datamodule.splits, split), datamodule.dataset
    device = trainer.strategy.root_device.type
    intensity = {"intensity": model.intensity} if model.intensity else {}
    common = (
        model.tiling.fingerprint()
        | intensity
        | (defects.fingerprint() if defects else {})
        | {
            "preprocessing": PREPROCESSING,
            "precision": str(trainer.precision),
            "device": device,
            "files": [file_key(sample.path, dataset.files_root) for sample in samples],
        }
    )
    entries = [
        CacheEntry(
            f"{dataset.category}-{split}-{backbone.name}-{layer}",
            backbone.fingerprint(layer) | {"engine": backbone.engine_on(device)} | common,
        )
        for backbone, layer in model.backbone_layers
    ]

    def compute(writers: Mapping[int, ShardWriter]) -> None:
        layers = [model.backbone_layers[index] for index in writers]
        loader = datamodule.image_loader(
            samples,
            model.image_size,
            model.intensity,
            first=min(writer.first for writer in writers.values()),
            n_tiles=model.tiling.n_tiles,
            pin_memory=device == "cuda",
            read=defects or read_image,
        )
        module = FeatureExtraction(model, layers, list(writers.values()), samples, cache.cache_dir)
        try:
            bar = progress(loader, "Extracting features")
            trainer.predict(module, bar, return_predictions=False)
        finally:
            model.release()

    layers = cache.load_or_compute(entries, len(samples), compute)
    n_computed = sum(layer.was_computed for layer in layers)
    source = "computed" if n_computed else "read from the cache"
    if 0 < n_computed < len(layers):
        source = f"{n_computed} of {len(layers)} layers computed"
    log.info("Features of %d %s images: %s", len(layers[0].indices), split, source)
    if layers[0].skipped and not dataset.skip_unreadable:
        # An earlier run left out unreadable images; this one raises the first one's error.
        read_image(samples[layers[0].skipped[0]].path, model.image_size, model.intensity)
    return layers
