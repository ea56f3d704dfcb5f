"""The base class of models: from images to the features of a backbone's layers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fre_lightning.backbones import Backbone
from fre_lightning.backbones.extractor import Extractor
from fre_lightning.fitted import FittedBuffers
from fre_lightning.images.intensity import Intensity
from fre_lightning.images.tiling import Tiling


class ImageModel(FittedBuffers, ABC):
    """Extracts features of images, on all cores or on a GPU.

    Args:
        backbone: Computes features.
        tiling: How images are cut.

    Attributes:
        intensity: The range of levels of its images before they became 8 bits, which those who
            decode images for it apply; None for images of 8 bits.
        backbone_layers: The backbone and name of each layer.
    """

    def __init__(self, backbone: Backbone, tiling: Tiling) -> None:
        super().__init__()
        self.backbone = backbone
        self.tiling = tiling
        self.intensity: Intensity | None = None
        self.backbone_layers = [(part, layer) for part in backbone.parts for layer in part.layers]
        self._extractors: list[Extractor] = []

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of its buffers."""

    @property
    def image_size(self) -> tuple[int, int]:
        """`(H, W)` of the images that `forward` takes."""
        return self.tiling.image_size(self.backbone.image_size)

    def accelerate(
        self,
        n_threads: int,
        precision: str = "32-true",
        backbone_layers: Sequence[tuple[Backbone, str]] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Build the backbones' engines and start their threads; `release` ends them.

        Args:
            n_threads: Number of CPU threads.
            precision: Of the backbones, as the trainer's.
            backbone_layers: The layers to extract; None for all.
            cache_dir: Where engines that take long to build are kept; None for nowhere.
        """
        by_backbone: dict[Backbone, list[str]] = {}
        for backbone, layer in backbone_layers or self.backbone_layers:
            by_backbone.setdefault(backbone, []).append(layer)
        self._extractors = [
            Extractor(backbone, layers, self.device, n_threads, precision, cache_dir)
            for backbone, layers in by_backbone.items()
        ]

    def release(self) -> None:
        """End the threads."""
        for extractor in self._extractors:
            extractor.close()
        self._extractors = []

    def features_of(self, images: Tensor) -> list[Tensor]:
        """Pooled features `(N, T, C, h, w)` of each layer, of `(N, 3, H, W)` uint8 images."""
        tiles = self.tiling.cut(images, self.backbone.image_size)
        plain = [part.features for part in self.backbone.parts]
        features = [layer for extract in self._extractors or plain for layer in extract(tiles)]
        return [layer.view(-1, self.tiling.n_tiles, *layer.shape[1:]) for layer in features]
