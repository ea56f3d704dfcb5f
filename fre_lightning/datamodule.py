"""The splits of a dataset, its images, and batches of what was cached of them."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from fre_lightning.datasets import AnomalyDataset, Sample, Splits
from fre_lightning.errors import ConfigError
from fre_lightning.feature_cache import CachedRows
from fre_lightning.feature_matrix import FeatureMatrix
from fre_lightning.image_loader import ImageLoader
from fre_lightning.threads import default_n_threads

# What a step allocates, some MB an image, should be little: the allocator keeps what was freed.
_TEST_BATCH = 16


class TestBatch(NamedTuple):
    """Some test images, as features.

    Attributes:
        features: `(N, C, h, w)` float32, pooled but not standardised.
        labels: `(N,)` int64, 1 for defective.
        masks: `(N, H, W)` bool; None if the dataset has no masks.
    """

    features: Tensor
    labels: Tensor
    masks: Tensor | None


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
        pin_memory: bool = False,
    ) -> ImageLoader:
        """Images of a split from sample `first` on."""
        return ImageLoader(
            samples,
            image_size,
            self.batch_size,
            self.n_threads,
            first=first,
            skip_unreadable=self.dataset.skip_unreadable,
            pin_memory=pin_memory,
        )

    def attach(self, features: CachedRows) -> None:
        """Hand over what the cache holds of the test split: features `(C, h, w)`."""
        self._features = features
        self._masks: CachedRows | None = None

    def attach_masks(self, masks: CachedRows | None) -> None:
        """Hand over masks `(H, W)` of the defective ones among `test_samples`."""
        self._masks = masks

    @property
    def test_samples(self) -> list[Sample]:
        """The test images that have features: all but unreadable ones."""
        return [self.splits.test[index] for index in self._features.indices]

    def test_dataloader(self) -> "TestBatches":
        """Batches over `test_samples`."""
        return TestBatches(self.test_samples, self._features, self._masks)

    def _limit(self, samples: list[Sample]) -> list[Sample]:
        """The first `limit_images` of each defect type."""
        by_type: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            by_type[sample.defect_type].append(sample)
        return [sample for group in by_type.values() for sample in group[: self.limit_images]]


class TestBatches:
    """Cached features and masks of the test images, in order."""

    def __init__(
        self, samples: Sequence[Sample], features: CachedRows, masks: CachedRows | None
    ) -> None:
        self._labels = torch.tensor([sample.label for sample in samples])
        self._features = FeatureMatrix(features.shards)
        self._feature_shape = features.row_shape
        self._masks = masks
        self._mask_shards = None if masks is None else FeatureMatrix(masks.shards)

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
            masks = self._read_masks(labels, slice(first_mask, first_mask + n_masks))
            first_mask += n_masks
            features = self._features.block(rows).view(-1, *self._feature_shape)
            yield TestBatch(features, labels, masks)

    def _read_masks(self, labels: Tensor, rows: slice) -> Tensor | None:
        """Masks of a batch: none of a good image is defective."""
        if self._masks is None or self._mask_shards is None:
            return None
        masks = torch.zeros(len(labels), *self._masks.row_shape, dtype=torch.bool)
        if rows.stop > rows.start:
            stored = self._mask_shards.block(rows).view(-1, *self._masks.row_shape)
            masks[labels == 1] = stored > 0
        return masks
