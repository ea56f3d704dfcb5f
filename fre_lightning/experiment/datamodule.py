"""The splits of a dataset."""

from collections import defaultdict

from pytorch_lightning import LightningDataModule

from fre_lightning.datasets import AnomalyDataset, Sample, Splits
from fre_lightning.datasets.regions import attach_regions
from fre_lightning.errors import ConfigError
from fre_lightning.threads import default_n_threads


class AnomalyDataModule(LightningDataModule):
    """The images of a run.

    Args:
        dataset: Where the samples come from.
        batch_size: Images per forward pass of the backbone.
        n_threads: CPU threads that decode; None for one per core.
        limit_images: The most images of the training set and of each defect type; None: all.

    Attributes:
        splits: The samples of the run; set by `setup`.

    Raises:
        ConfigError: If a number is not positive.
    """

    splits: Splits

    def __init__(
        self,
        dataset: AnomalyDataset,
        batch_size: int,
        n_threads: int | None,
        limit_images: int | None,
    ) -> None:
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
        """Scan the dataset.

        Raises:
            DatasetError: If its files are not as expected.
        """
        splits = self.dataset.scan()
        splits = attach_regions(splits, self.dataset.roi, self.dataset.files_root)
        self.splits = Splits(self._limit(splits.train), self._limit(splits.test), splits.has_masks)

    def _limit(self, samples: list[Sample]) -> list[Sample]:
        by_type: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            by_type[sample.defect_type].append(sample)
        return [sample for group in by_type.values() for sample in group[: self.limit_images]]
