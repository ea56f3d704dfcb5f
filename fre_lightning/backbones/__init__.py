"""Backbones: frozen functions from images to feature maps."""

from fre_lightning.backbones.base import Backbone
from fre_lightning.backbones.combined import CombinedBackbone
from fre_lightning.backbones.efficientnet_lite import EfficientNetLite
from fre_lightning.backbones.scattering import Scattering
from fre_lightning.backbones.timm import TimmBackbone
from fre_lightning.backbones.torchvision import TorchvisionBackbone

__all__ = [
    "Backbone",
    "CombinedBackbone",
    "EfficientNetLite",
    "Scattering",
    "TimmBackbone",
    "TorchvisionBackbone",
]
