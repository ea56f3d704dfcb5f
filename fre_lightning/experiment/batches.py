"""The test images as batches of cached features, with labels and masks."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fre_lightning.collective import n_processes, part_of
from fre_lightning.datasets import Sample
from fre_lightning.errors import ConfigError
from fre_lightning.experiment.datamodule import AnomalyDataModule
from fre_lightning.features.cache import CachedRows, CacheEntry, FeatureCache
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.shards import ShardWriter
from fre_lightning.files import file_key
from fre_lightning.images.header import read_header
from fre_lightning.images.masks import read_mask
from fre_lightning.images.region import read_regions
from fre_lightning.progress import progress
from fre_lightning.threads import thread_pool

log = logging.getLogger(__name__)

# A reducer's weights are read from memory once a batch, which takes longer than its arithmetic on
# few images; a step allocates some MB an image, which the allocator keeps.
_BATCH = 64


class FeatureBatch(NamedTuple):
    """Some test images, as features.

    Attributes:
        features: Of each layer `(N, T, C, h, w)` float32, pooled but not standardised, of the T
            tiles of each image.
        labels: `(N,)` int64, 1 for defective.
        masks: `(N, H, W)` bool; or a list of `(H, W)`, each of its image file's own size; None if
            the dataset has no masks.
        types: The defect type of each image, or `good`.
        regions: `(N, H, W)` bool, where each image counts; None if they have no regions of their
            own.
    """

    features: list[Tensor]
    labels: Tensor
    masks: Tensor | list[Tensor] | None
    types: list[str]
    regions: Tensor | None = None


class FeatureBatches:
    """Batches of the test images that have features, in order.

    Args:
        samples: The whole test split.
        features: Of each layer, `(T, C, h, w)` of each image that could be read.
        masks: `(H, W)` of the defective ones among these, from the cache; or None.
        reads_masks: Whether masks are read from their files instead, each at its own size.
        region_size: `(H, W)` of the regions of images that have their own.

    Attributes:
        samples: The images that have features.

    Raises:
        ConfigError: If there are fewer of them than processes that share them.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        features: Sequence[CachedRows],
        masks: CachedRows | None,
        *,
        reads_masks: bool,
        region_size: tuple[int, int],
    ) -> None:
        self.samples = [samples[index] for index in features[0].indices]
        if len(self.samples) < n_processes():
            msg = (
                f"There are {len(self.samples)} test images for {n_processes()} processes. "
                "Choose fewer with trainer.devices."
            )
            raise ConfigError(msg)
        self._part = part_of(len(self.samples))
        self._labels = torch.tensor([sample.label for sample in self.samples])
        self._layers = [(FeatureMatrix(rows.shards), rows.row_shape) for rows in features]
        self._masks = masks
        self._reads_masks = reads_masks
        self._region_size = region_size

    def mask_flaws(self) -> dict[str, int]:
        """The numbers of masks that are `empty` or `full` at the image size, with a warning."""
        if self._masks is None:
            return {}
        blocks = [block > 0 for _, block in FeatureMatrix(self._masks.shards).row_blocks()]
        n_masks = sum(len(block) for block in blocks)
        flaws = {
            "empty": sum(int((~block.any(dim=1)).sum()) for block in blocks),
            "full": sum(int(block.all(dim=1).sum()) for block in blocks),
        }
        if flaws["empty"]:
            log.warning(
                "%d of the %d masks of defective images are empty at this image size. These images "
                "count as defective for image metrics, and as good pixels for pixel metrics.",
                flaws["empty"],
                n_masks,
            )
        if flaws["full"]:
            log.warning(
                "%d of the %d masks of defective images mark all of the image: pixel metrics "
                "count every pixel as a defect. Are they inverted?",
                flaws["full"],
                n_masks,
            )
        return flaws

    def __len__(self) -> int:
        """The number of batches of this process."""
        return len(self._starts)

    def __iter__(self) -> Iterator[FeatureBatch]:
        """Yield batches; of several processes of a run each gets its share."""
        for start in self._starts:
            rows = slice(start, min(start + _BATCH, self._part.stop))
            features = [matrix.block(rows).view(-1, *shape) for matrix, shape in self._layers]
            types = [sample.defect_type for sample in self.samples[rows]]
            masks = self._read_masks(rows)
            regions = read_regions(self.samples[rows], self._region_size)
            yield FeatureBatch(features, self._labels[rows], masks, types, regions)

    @property
    def _starts(self) -> range:
        return range(self._part.start, self._part.stop, _BATCH)

    def _read_masks(self, rows: slice) -> Tensor | list[Tensor] | None:
        if self._reads_masks:
            return [_read_mask(sample) for sample in self.samples[rows]]
        if self._masks is None:
            return None
        size, labels = self._masks.row_shape, self._labels[rows]
        masks = torch.zeros(len(labels), *size, dtype=torch.bool)
        if labels.any():  # good images have no defect; only masks of defective ones are cached
            first = int(self._labels[: rows.start].sum())
            cached = FeatureMatrix(self._masks.shards).block(
                slice(first, first + int(labels.sum()))
            )
            masks[labels == 1] = cached.view(-1, *size) > 0
        return masks


def load_test_batches(
    features: Sequence[CachedRows],
    datamodule: AnomalyDataModule,
    image_size: tuple[int, int],
    mask_size: tuple[int, int] | None,
    cache: FeatureCache,
) -> FeatureBatches:
    """The test set, its masks read from the cache or computed into it.

    Args:
        features: Of each layer.
        datamodule: Holds the samples.
        image_size: `(H, W)` of the model's images.
        mask_size: `(H, W)` that masks are resized to; None for each mask's own size.
        cache: Where masks of `mask_size` are kept.

    Raises:
        DatasetError: If a mask is missing, cannot be read, or is not of its image's size.
    """
    samples, has_masks = datamodule.splits.test, datamodule.splits.has_masks
    found, masks = (samples[index] for index in features[0].indices), None
    pairs = [(sample.mask_paths, sample.path) for sample in found if sample.mask_paths]
    if has_masks and pairs and mask_size is not None:
        masks = _load_masks(pairs, datamodule, mask_size, cache)
    reads_masks = has_masks and mask_size is None
    return FeatureBatches(samples, features, masks, reads_masks=reads_masks, region_size=image_size)


def _load_masks(
    pairs: Sequence[tuple[Sequence[Path], Path]],
    datamodule: AnomalyDataModule,
    mask_size: tuple[int, int],
    cache: FeatureCache,
) -> CachedRows:
    """Masks `(H, W)` of defective images, of pairs of mask files and image file."""
    dataset = datamodule.dataset
    files = [
        file_key(path, dataset.files_root) for masks, image in pairs for path in (*masks, image)
    ]
    key = {"masks": list(mask_size), "files": files}

    def compute(writers: Mapping[int, ShardWriter]) -> None:
        writer = writers[0]
        with thread_pool(datamodule.n_threads) as pool:
            wanted = [pairs[index] for index in writer.items]
            masks = pool.map(lambda pair: read_mask(pair[0], pair[1], mask_size), wanted)
            for index, mask in zip(
                writer.items, progress(masks, "Masks", len(wanted)), strict=True
            ):
                writer.append(mask.numpy()[None], [index])

    entry = CacheEntry(f"{dataset.category}-masks", key)
    (rows,) = cache.load_or_compute([entry], len(pairs), compute)
    return rows


def _read_mask(sample: Sample) -> Tensor:
    """The mask of a test image at the image's own size, `(H, W)` bool."""
    if sample.mask_paths:
        return read_mask(sample.mask_paths, sample.path)
    return torch.zeros(read_header(sample.path).size, dtype=torch.bool)
