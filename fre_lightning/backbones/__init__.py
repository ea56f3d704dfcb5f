"""Backbones: frozen functions from images to feature maps."""

import importlib
from typing import TYPE_CHECKING, Any

from fre_lightning.backbones.base import Backbone

if TYPE_CHECKING:
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

_MODULES = {
    "CombinedBackbone": "combined",
    "EfficientNetLite": "efficientnet_lite",
    "Scattering": "scattering",
    "TimmBackbone": "timm",
    "TorchvisionBackbone": "torchvision",
}


def __getattr__(name: str) -> Any:
    """Import a backbone when it is first asked for: torchvision takes as long as torch."""
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
