"""The splits of a dataset, its images, and batches of what was cached of them."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from PIL import Image
from pytorch_lightning import LightningDataModule
from torch import Tensor

from fre_lightning.datasets import AnomalyDataset, Sample, Splits
from fre_lightning.errors import ConfigError
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.images.loader import ImageLoader
from fre_lightning.images.masks import read_mask
from fre_lightning.threads import default_n_threads

# A reducer's weights are read from memory once a batch, which takes longer than its arithmetic on
# few images; a step allocates some MB an image, which the allocator keeps.
_TEST_BATCH = 64


class TestBatch(NamedTuple):
    """Some test images, as features.

    Attributes:
        features: Of each layer `(N, T, C, h, w)` float32, pooled but not standardised, of the T
            tiles of each image.
        labels: `(N,)` int64, 1 for defective.
        masks: `(N, H, W)` bool; or a list of `(H, W)`, each of its image file's own size; None if
            the dataset has no masks.
        types: The defect type of each, or `good`.
    """

    features: list[Tensor]
    labels: Tensor
    masks: Tensor | list[Tensor] | None
    types: list[str]


class AnomalyDataModule(LightningDataModule):
    """Knows which images there are; loads them, and the cached test features with their masks.

    Attributes:
        splits: The samples that are used; set by `setup`.
    """

    splits: Splits

    def __init__(
        self,
        dataset: AnomalyDataset,
        batch_size: int,
        n_threads: int | None,
        limit_images: int | None,
    ) -> None:
        """Store settings.

        Args:
            dataset: Where the samples come from.
            batch_size: Images per forward pass of the backbone.
            n_threads: CPU threads that decode; None for one per core.
            limit_images: At most so many images of the training set and of each defect type.

        Raises:
            ConfigError: If a number is not positive.
        """
        super().__init__()
        for name, number in (("batch_size", batch_size), ("limit_images", limit_images)):
            if number is not None and number < 1:
                msg = f"datamodule.{name}={number} must be positive."
                raise ConfigError(msg)
        self.dataset = dataset
        self.batch_size = batch_size
        self.n_threads = n_threads or default_n_threads()
        self.limit_images = limit_images

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - Lightning's
        """Scan the dataset, once.

        Raises:
            DatasetError: If it is not as it should be.
        """
        if hasattr(self, "splits"):
            return
        splits = self.dataset.scan()
        self.splits = Splits(self._limit(splits.train), self._limit(splits.test), splits.has_masks)

    def image_loader(
        self,
        samples: Sequence[Sample],
        image_size: tuple[int, int],
        first: int,
        *,
        n_tiles: int = 1,
        pin_memory: bool = False,
    ) -> ImageLoader:
        """Images of a split from sample `first` on, fewer at a time if each is many tiles."""
        return ImageLoader(
            samples,
            image_size,
            max(1, self.batch_size // n_tiles),
            self.n_threads,
            first=first,
            skip_unreadable=self.dataset.skip_unreadable,
            pin_memory=pin_memory,
        )

    def attach(self, features: Sequence[CachedRows]) -> None:
        """Hand over what the cache holds of the test split: each layer's `(T, C, h, w)`."""
        self._features = features
        self._masks: CachedRows | None = None
        self._reads_masks = False

    def attach_masks(self, masks: CachedRows | None) -> None:
        """Hand over masks `(H, W)` of the defective ones among `test_samples`."""
        self._masks = masks

    def read_masks(self) -> None:
        """Have masks read from their files, each at its own size, if the dataset has any."""
        self._reads_masks = self.splits.has_masks

    @property
    def test_samples(self) -> list[Sample]:
        """The test images that have features: all but unreadable ones."""
        return [self.splits.test[index] for index in self._features[0].indices]

    def test_dataloader(self) -> "TestBatches":
        """Batches over `test_samples`."""
        masks = self.test_samples if self._reads_masks else self._masks
        return TestBatches(self.test_samples, self._features, masks)

    def _limit(self, samples: list[Sample]) -> list[Sample]:
        """The first `limit_images` of each defect type."""
        by_type: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            by_type[sample.defect_type].append(sample)
        return [sample for group in by_type.values() for sample in group[: self.limit_images]]


class TestBatches:
    """Cached features and masks of the test images, in order."""

    def __init__(
        self,
        samples: Sequence[Sample],
        features: Sequence[CachedRows],
        masks: CachedRows | Sequence[Sample] | None,
    ) -> None:
        """Hold what to read; masks from the cache, or from the files of the samples."""
        self._labels = torch.tensor([sample.label for sample in samples])
        self._types = [sample.defect_type for sample in samples]
        self._layers = [(FeatureMatrix(rows.shards), rows.row_shape) for rows in features]
        self._masks = masks
        self._mask_shards = FeatureMatrix(masks.shards) if isinstance(masks, CachedRows) else None

    def __len__(self) -> int:
        """The number of batches."""
        return math.ceil(len(self._labels) / _TEST_BATCH)

    def __iter__(self) -> Iterator[TestBatch]:
        """Yield batches."""
        first_mask = 0
        for start in range(0, len(self._labels), _TEST_BATCH):
            rows = slice(start, min(start + _TEST_BATCH, len(self._labels)))
            labels = self._labels[rows]
            n_masks = int(labels.sum())
            masks = self._masks_of(rows, slice(first_mask, first_mask + n_masks))
            first_mask += n_masks
            features = [matrix.block(rows).view(-1, *shape) for matrix, shape in self._layers]
            yield TestBatch(features, labels, masks, self._types[rows])

    def _masks_of(self, rows: slice, cached: slice) -> Tensor | list[Tensor] | None:
        """Masks of a batch: none of a good image is defective."""
        if not isinstance(self._masks, CachedRows):
            return None if self._masks is None else [_read_mask(s) for s in self._masks[rows]]
        assert self._mask_shards is not None
        labels, size = self._labels[rows], self._masks.row_shape
        masks = torch.zeros(len(labels), *size, dtype=torch.bool)
        if cached.stop > cached.start:
            masks[labels == 1] = self._mask_shards.block(cached).view(-1, *size) > 0
        return masks


def _read_mask(sample: Sample) -> Tensor:
    """The mask of a test image at the image's own size, `(H, W)` bool."""
    if sample.mask_path is not None:
        return read_mask(sample.mask_path, sample.path)
    with Image.open(sample.path) as image:
        return torch.zeros(image.height, image.width, dtype=torch.bool)
