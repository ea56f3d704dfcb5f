"""Features of a split, read from the cache or extracted by Lightning's predict loop."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pytorch_lightning import LightningModule, Trainer

from fre_lightning.backbones import Backbone
from fre_lightning.datasets import Sample
from fre_lightning.detector.image_model import ImageModel
from fre_lightning.errors import FeatureError
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.features.cache import CachedRows, CacheEntry, FeatureCache
from fre_lightning.features.shards import ShardWriter
from fre_lightning.files import file_key
from fre_lightning.images.changed import ChangedImages
from fre_lightning.images.loader import ImageBatch, ImageLoader
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
        cache: Its type is that of the rows; engines that take long to build are kept beside them.
    """

    def __init__(
        self,
        model: ImageModel,
        backbone_layers: Sequence[tuple[Backbone, str]],
        writers: Sequence[ShardWriter],
        samples: Sequence[Sample],
        cache: FeatureCache,
    ) -> None:
        super().__init__()
        self.model = model
        self._backbone_layers = backbone_layers
        self._writers = writers
        self._samples = samples
        self._cache = cache

    def on_predict_start(self) -> None:
        """Build the engines, on the trainer's device."""
        n_threads, precision = torch.get_num_threads(), str(self.trainer.precision)
        cache_dir = self._cache.cache_dir
        self.model.accelerate(n_threads, precision, self._backbone_layers, cache_dir)

    def predict_step(self, batch: ImageBatch) -> None:
        """Store pooled features `(N, T, C, h, w)` of images, of each layer.

        Raises:
            FeatureError: If a feature is not a finite number, or too large for the cache's type.
        """
        dtype = self._cache.dtype
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
            stored = features.to(getattr(torch, dtype))
            if not stored.isfinite().all():
                msg = f"Some features are too large for {dtype}. Run with cache.dtype=float32."
                raise FeatureError(msg)
            writer.append(stored.cpu().numpy(), batch.indices)


@dataclass(frozen=True)
class ImageSet:
    """Images whose features are kept together.

    Attributes:
        name: Names the entries of the cache.
        title: What the images are, for the log.
        samples: The images.
        root: The folder that their names are relative to.
        batch_size: The most images, or tiles, that the backbone gets at a time.
        n_threads: CPU threads that decode.
        skip_unreadable: Whether an image that cannot be decoded is left out, not an error.
        changed: Reads them and changes them; None: they are as they are.
    """

    name: str
    title: str
    samples: Sequence[Sample]
    root: Path
    batch_size: int
    n_threads: int
    skip_unreadable: bool = False
    changed: ChangedImages | None = None

    def fingerprint(self) -> dict[str, object]:
        """What determines the images, for the cache key."""
        key: dict[str, object] = {"files": [file_key(s.path, self.root) for s in self.samples]}
        return key if self.changed is None else key | self.changed.fingerprint()

    def loader(
        self, model: ImageModel, indices: Sequence[int] | None = None, *, pin_memory: bool = False
    ) -> ImageLoader:
        """Images as a model takes them, those at some positions or all."""
        return ImageLoader(
            self.samples,
            model.image_size,
            max(1, self.batch_size // model.tiling.n_tiles),
            self.n_threads,
            indices=indices,
            intensity=model.intensity,
            skip_unreadable=self.skip_unreadable,
            pin_memory=pin_memory,
            read=self.changed or read_image,
        )


def load_features(
    split: str,
    model: ImageModel,
    datamodule: AnomalyDataModule,
    cache: FeatureCache,
    trainer: Trainer,
    changed: ChangedImages | None = None,
) -> list[CachedRows]:
    """Pooled features `(T, C, h, w)` of a split, `train` or `test`; see `load_set`."""
    dataset = datamodule.dataset
    images = ImageSet(
        f"{dataset.category}-{split}",
        f"{split} images",
        getattr(datamodule.splits, split),
        dataset.files_root,
        datamodule.batch_size,
        datamodule.n_threads,
        dataset.skip_unreadable,
        changed,
    )
    return load_set(images, model, cache, trainer)


def load_set(
    images: ImageSet, model: ImageModel, cache: FeatureCache, trainer: Trainer
) -> list[CachedRows]:
    """Features of images, read from the cache or computed into it.

    Args:
        images: The images.
        model: Holds the backbones.
        cache: Where features are kept, those of each layer in an entry of their own.
        trainer: Runs the backbones; not called if nothing is missing.

    Returns:
        The rows of each layer, as `model.backbone_layers` lists them.

    Raises:
        UnreadableImageError: If an image cannot be decoded and is not to be left out.
        FeatureError: If a feature is not a finite number, or too large for the cache's type.
        CacheError: If the cache cannot be written.
    """
    device = trainer.strategy.root_device.type
    intensity = {"intensity": model.intensity} if model.intensity else {}
    dtype = {} if cache.dtype == "float32" else {"dtype": cache.dtype}
    common = (
        model.tiling.fingerprint()
        | intensity
        | dtype
        | {
            "preprocessing": PREPROCESSING,
            "precision": str(trainer.precision),
            "device": device,
        }
        | images.fingerprint()
    )
    entries = [
        CacheEntry(
            f"{images.name}-{backbone.name}-{layer}",
            backbone.fingerprint(layer) | {"engine": backbone.engine_on(device)} | common,
        )
        for backbone, layer in model.backbone_layers
    ]

    def compute(writers: Mapping[int, ShardWriter]) -> None:
        layers = [model.backbone_layers[index] for index in writers]
        indices = sorted({item for writer in writers.values() for item in writer.items})
        if not indices:  # other processes have all of them
            return
        loader = images.loader(model, indices, pin_memory=device == "cuda")
        writer_list = list(writers.values())
        module = FeatureExtraction(model, layers, writer_list, images.samples, cache)
        try:
            bar = progress(loader, "Extracting features")
            trainer.predict(module, bar, return_predictions=False)
        finally:
            model.release()

    layers = cache.load_or_compute(entries, len(images.samples), compute)
    n_computed = sum(layer.was_computed for layer in layers)
    source = "computed" if n_computed else "read from the cache"
    if 0 < n_computed < len(layers):
        source = f"{n_computed} of {len(layers)} layers computed"
    log.info("Features of %d %s: %s", len(layers[0].indices), images.title, source)
    if layers[0].skipped and not images.skip_unreadable:
        # An earlier run left out unreadable images; this one raises the first one's error.
        path = images.samples[layers[0].skipped[0]].path
        read_image(path, model.image_size, model.intensity)
    return layers
