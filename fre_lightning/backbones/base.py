"""The base class of backbones: frozen functions from images to the feature maps of layers."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fre_lightning.errors import ConfigError
from fre_lightning.images.resizing import parse_image_size


class Backbone(nn.Module, ABC):
    """A frozen network or transform from resized images to one feature map per layer.

    It normalises the images itself. A new backbone derives from this class:

    - Its parameters need no gradients, and it is in evaluation mode.
    - Buffers that the constructor computes are not persistent: checkpoints hold weights only.
    - `fingerprint` covers everything that changes features, weights by their content.
    - `forward` gives an image the same features in any batch, and may be called from several
      threads at a time.
    - `prepare_export` replaces what other programs cannot run, if there is anything.
    - `configs/model/<name>.yaml` gives each constructor parameter.

    Attributes:
        group: The configuration group that it is chosen from, for messages.
        name: Its name in tables and folders, for example `resnet18`.
        layers: The layers whose outputs are the feature maps.
        pools: Kernel and stride of the average pooling of each layer's feature map.
        image_size: `(H, W)` of its images.
        compression: The compression of its features, see `ChannelStandardizer`.
    """

    group: ClassVar[str] = "model"

    def __init__(
        self,
        name: str,
        layers: str | int | Sequence[str | int],
        pool: int | Sequence[int],
        image_size: int | Sequence[int],
        compression: str = "none",
    ) -> None:
        super().__init__()
        self.name = name
        several = (layers,) if isinstance(layers, str | int) else layers
        self.layers = tuple(map(str, several))  # some networks number them
        self.pools = (pool,) * len(self.layers) if isinstance(pool, int) else tuple(pool)
        if len(self.pools) != len(self.layers) or not self.layers or min(self.pools) < 1:
            msg = (
                f"model.pool={pool} must be a positive number, or one for each of the "
                f"{len(self.layers)} model.layers."
            )
            raise ConfigError(msg)
        self.image_size = parse_image_size(image_size)
        self.compression = compression

    @property
    def parts(self) -> Sequence["Backbone"]:
        """The backbones that it combines; by default itself."""
        return (self,)

    @property
    @abstractmethod
    def weights_label(self) -> str:
        """The name of the weights in tables and logs: torchvision's, a file's, or `random`."""

    def load_weights(self) -> None:
        """Load the weights named in the constructor; not called if a checkpoint is loaded.

        Raises:
            BackboneError: If they are missing, cannot be read, or do not fit.
        """

    @abstractmethod
    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """Compute feature maps.

        Args:
            images: `(N, 3, H, W)` uint8, RGB.
            layers: Some of its layers; None: all.

        Returns:
            `(N, C, h, w)` float for each layer.

        Raises:
            BackboneError: If a layer's output is not a map.
        """

    def features(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """Pooled feature maps `(N, C, h // pool, w // pool)` of each layer; see `forward`."""
        chosen = self.layers if layers is None else layers
        maps = zip(chosen, self(images, chosen), strict=True)
        return [pool_features(each, self.pools[self.layers.index(layer)]) for layer, each in maps]

    def accelerate(
        self,
        n_threads: int,
        precision: str,
        layers: Sequence[str] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Prepare a fast `forward` on the device of the backbone.

        Args:
            n_threads: The number of CPU threads that will call `forward` at the same time.
            precision: The trainer's precision, for example `32-true` or `bf16-mixed`.
            layers: The layers that `forward` will be called with; None: all.
            cache_dir: Where to store what takes long to build; None: nowhere.
        """

    def prepare_export(self) -> None:
        """Change itself into what `torch.export` can record for every file format.

        `forward` then takes any number of images, has no branch that depends on their content, and
        no complex numbers.
        """

    @torch.no_grad()
    def find_cell(self) -> int:
        """The pixels along a side of the largest cell of its maps, by a forward pass of one image.

        Sides of images that are multiples of it are cut into whole cells.
        """
        height, width = self.image_size
        maps = self.features(torch.zeros(1, 3, height, width, dtype=torch.uint8))
        return max(_cell(height, layer.shape[2]) for layer in maps)

    @property
    def images_per_thread(self) -> int | None:
        """Images a CPU thread handles per call; None if `forward` is itself multi-threaded."""
        return 1

    def engine_on(self, device: str) -> str:  # noqa: ARG002 - for subclasses with a choice
        """The engine of `forward` on a type of device, such as `cpu`; part of the cache key.

        Raises:
            BackboneError: If the engine is unknown, not installed, or not for this device.
        """
        return "eager"

    def fingerprint(self, layer: str) -> dict[str, object]:
        """Everything that changes a layer's features, weights by content; part of the cache key."""
        return {
            "backbone": self.name,
            "layer": layer,
            "pool": self.pools[self.layers.index(layer)],
            "image_size": list(self.image_size),
        }


def _cell(side: int, n_cells: int) -> int:
    """The side of a cell; strides of networks are powers of two where they do not divide a side."""
    return 2 ** math.ceil(math.log2(side / n_cells)) if side % n_cells else side // n_cells


def pool_features(feature_map: Tensor, pool: int) -> Tensor:
    """Average-pool a feature map without overlap.

    Args:
        feature_map: `(N, C, h, w)`.
        pool: Kernel and stride; rows and columns that do not fill a kernel are dropped.

    Returns:
        `(N, C, h // pool, w // pool)`.
    """
    return feature_map if pool == 1 else F.avg_pool2d(feature_map, kernel_size=pool, stride=pool)
