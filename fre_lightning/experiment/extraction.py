"""Features and masks of a split: from the cache, or computed and put there."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import BasePredictionWriter, Callback
from torch import Tensor
from tqdm import tqdm

from fre_lightning.datasets import Sample
from fre_lightning.errors import FeatureError
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.experiment.module import FREModule
from fre_lightning.features.cache import CachedRows, Entry, FeatureCache, ShardWriter
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.images.loader import ImageBatch
from fre_lightning.images.masks import read_mask
from fre_lightning.images.reading import read_image
from fre_lightning.images.resizing import PREPROCESSING
from fre_lightning.threads import thread_pool

log = logging.getLogger(__name__)

_MASK_BLOCK_BYTES = 2**23


class FeatureWriter(BasePredictionWriter):
    """Passes each batch of features on to the cache as soon as it is computed."""

    def __init__(self, writers: Sequence[ShardWriter], samples: Sequence[Sample]) -> None:
        super().__init__(write_interval="batch")
        self._writers = writers
        self._samples = samples

    def write_on_batch_end(  # noqa: D102 - documented by Lightning
        self,
        trainer: Trainer,  # noqa: ARG002 - this and the other names are Lightning's
        pl_module: LightningModule,  # noqa: ARG002
        prediction: Sequence[Tensor],
        batch_indices: Sequence[int] | None,  # noqa: ARG002
        batch: ImageBatch,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int,  # noqa: ARG002
    ) -> None:
        for features, writer in zip(prediction, self._writers, strict=True):
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
    module: FREModule,
    datamodule: AnomalyDataModule,
    cache: FeatureCache,
    trainer: Trainer,
) -> list[CachedRows]:
    """Pooled features `(T, C, h, w)` of a split, read from the cache or computed into it.

    Args:
        split: `train` or `test`.
        module: Holds the backbone.
        datamodule: Holds the samples.
        cache: Where features are kept, those of each layer in an entry of their own.
        trainer: Runs the backbone; not called if nothing is missing.

    Returns:
        The rows of each layer, as `module.sources` lists them.

    Raises:
        UnreadableImageError: If an image cannot be decoded and is not to be left out.
        FeatureError: If a feature is not a finite number.
        CacheError: If the cache cannot be written.
    """
    samples, dataset = getattr(datamodule.splits, split), datamodule.dataset
    device = trainer.strategy.root_device.type
    files = [_file_key(sample.path, dataset.files_root) for sample in samples]
    entries = []
    for backbone, layer in module.sources:
        key = {
            **backbone.fingerprint(layer),
            **module.tiling.fingerprint(),
            "preprocessing": PREPROCESSING,
            "precision": str(trainer.precision),
            "device": device,
            "engine": backbone.engine_on(device),
            "files": files,
        }
        entries.append(Entry(f"{dataset.category}-{split}-{backbone.name}-{layer}", key))

    def compute(writers: Mapping[int, ShardWriter]) -> None:
        module.wanted = [module.sources[index] for index in writers]
        loader = datamodule.image_loader(
            samples,
            module.image_size,
            first=min(writer.first for writer in writers.values()),
            n_tiles=module.tiling.n_tiles,
            pin_memory=device == "cuda",
        )
        callback = FeatureWriter(list(writers.values()), samples)
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by name
        callbacks.append(callback)
        try:
            trainer.predict(module, loader, return_predictions=False)
        finally:
            callbacks.remove(callback)

    layers = cache.load_or_compute(entries, len(samples), compute)
    rows = layers[0]
    n_computed = sum(layer.was_computed for layer in layers)
    source = "computed" if n_computed else "read from the cache"
    if 0 < n_computed < len(layers):
        source = f"{n_computed} of {len(layers)} layers computed"
    log.info("Features of %d %s images: %s", len(rows.indices), split, source)
    if rows.skipped and not dataset.skip_unreadable:
        # An earlier run was told to leave them out; this one wasn't.
        read_image(samples[rows.skipped[0]].path, module.image_size)
    return layers


def load_masks(
    datamodule: AnomalyDataModule, image_size: tuple[int, int], cache: FeatureCache
) -> CachedRows | None:
    """Masks `(H, W)` of the defective test images that have features; None without masks.

    Raises:
        DatasetError: If a mask is missing, cannot be read, or is not of its image's size.
    """
    pairs = [(s.mask_path, s.path) for s in datamodule.test_samples if s.mask_path is not None]
    if not pairs or not datamodule.splits.has_masks:
        return None
    root = datamodule.dataset.files_root
    key = {
        "masks": list(image_size),
        "files": [_file_key(path, root) for pair in pairs for path in pair],
    }

    def compute(writers: Mapping[int, ShardWriter]) -> None:
        writer = writers[0]
        with thread_pool(datamodule.n_threads) as pool:
            masks = pool.map(lambda pair: read_mask(pair[0], pair[1], image_size), pairs)
            for index, mask in enumerate(tqdm(masks, "Masks", len(pairs), disable=None)):
                if index >= writer.first:
                    writer.append(mask.numpy()[None], [index])

    entry = Entry(f"{datamodule.dataset.category}-masks", key)
    (rows,) = cache.load_or_compute([entry], len(pairs), compute)
    blocks = FeatureMatrix(rows.shards).row_blocks(_MASK_BLOCK_BYTES)
    n_empty = sum(int((~block.any(dim=1)).sum()) for _, block in blocks)
    if n_empty:
        log.warning(
            "%d of the %d masks of defective images are empty at this image size. These images "
            "count as defective for image metrics, and as good pixels for pixel metrics.",
            n_empty,
            len(pairs),
        )
    return rows


def _file_key(path: Path, root: Path) -> list[object]:
    """Name, size and time of a file: what anything computed from it depends on."""
    status = path.stat()
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return [name.as_posix(), status.st_size, status.st_mtime_ns]
