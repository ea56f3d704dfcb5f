"""Datasets: good and defective images, and the masks of the defects."""

from fre_lightning.datasets.aitex import AITEX
from fre_lightning.datasets.base import AnomalyDataset, Sample, Splits
from fre_lightning.datasets.btad import BTAD
from fre_lightning.datasets.dagm import DAGM
from fre_lightning.datasets.elpv import ELPV
from fre_lightning.datasets.folder import Folder
from fre_lightning.datasets.kolektor_sdd import KolektorSDD
from fre_lightning.datasets.kolektor_sdd2 import KolektorSDD2
from fre_lightning.datasets.mpdd import MPDD
from fre_lightning.datasets.mtd import MTD
from fre_lightning.datasets.mvtec import MVTec
from fre_lightning.datasets.mvtec_ad2 import MVTecAD2
from fre_lightning.datasets.mvtec_loco import MVTecLOCO
from fre_lightning.datasets.real_iad import RealIAD
from fre_lightning.datasets.synthetic import Synthetic
from fre_lightning.datasets.table import Table
from fre_lightning.datasets.visa import VisA

__all__ = [
    "AITEX",
    "BTAD",
    "DAGM",
    "ELPV",
    "MPDD",
    "MTD",
    "AnomalyDataset",
    "Folder",
    "KolektorSDD",
    "KolektorSDD2",
    "MVTec",
    "MVTecAD2",
    "MVTecLOCO",
    "RealIAD",
    "Sample",
    "Splits",
    "Synthetic",
    "Table",
    "VisA",
]
