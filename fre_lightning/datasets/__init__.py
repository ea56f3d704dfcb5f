"""Datasets: good and defective images, and the masks of the defects."""

from fre_lightning.datasets.base import AnomalyDataset, Sample, Splits
from fre_lightning.datasets.folder import Folder
from fre_lightning.datasets.mtd import MTD
from fre_lightning.datasets.mvtec import MVTec
from fre_lightning.datasets.synthetic import Synthetic

__all__ = ["MTD", "AnomalyDataset", "Folder", "MVTec", "Sample", "Splits", "Synthetic"]
