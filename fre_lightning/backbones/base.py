"""What every backbone is: a frozen function from images to the feature maps of some layers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from fre_lightning.errors import ConfigError
from fre_lightning.images.resizing import parse_image_size


class Backbone(nn.Module, ABC):
    """A frozen network (or transform) that is asked for one feature map or several.

    It owns all that happens between the resized image and the feature map, its normalisation
    included, so that whoever holds the backbone needs nothing else.

    Attributes:
        name: What tables and folders call it, for example `resnet18`.
        layers: The layers whose outputs are the feature maps.
        pools: Of each layer, kernel and stride of the average pooling that makes features of it.
        image_size: `(H, W)` of the images it is given.
        compression: Of the features before a reducer sees them, see `ChannelStandardizer`.
    """

    def __init__(
        self,
        name: str,
        layers: str | Sequence[str],
        pool: int | Sequence[int],
        image_size: int | Sequence[int],
        compression: str = "none",
    ) -> None:
        super().__init__()
        self.name = name
        self.layers = (layers,) if isinstance(layers, str) else tuple(layers)
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
        """The backbones that this one is made of: itself."""
        return (self,)

    @property
    @abstractmethod
    def weights_label(self) -> str:
        """What the weights are, for every table and log line: a name, a file, or `random`."""

    def load_weights(self) -> None:
        """Load the weights that the constructor was told of; not needed before a checkpoint.

        Raises:
            BackboneError: If they cannot be had or do not fit.
        """

    @abstractmethod
    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """Compute feature maps.

        Args:
            images: `(N, 3, H, W)` uint8, RGB.
            layers: Some of the backbone's layers; all if None.

        Returns:
            `(N, C, h, w)` float of each layer.
        """

    def features(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """The pooled feature maps, `(N, C, h // pool, w // pool)` of each layer, of images."""
        chosen = self.layers if layers is None else layers
        pools = (self.pools[self.layers.index(layer)] for layer in chosen)
        return [
            pool_features(feature_map, pool)
            for feature_map, pool in zip(self(images, chosen), pools, strict=True)
        ]

    def accelerate(
        self,
        n_threads: int,
        precision: str,
        layers: Sequence[str] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Make `forward` fast on the device that the backbone is on, for images to come.

        Args:
            n_threads: How many CPU threads may call `forward` at the same time.
            precision: The trainer's, for example `32-true` or `bf16-mixed`.
            layers: Those that `forward` will be asked for; all if None.
            cache_dir: Where engines that take long to build are kept; None: nowhere.
        """

    @property
    def images_per_thread(self) -> int | None:
        """How many images a CPU thread works on at a time; None: `forward` threads by itself."""
        return 1

    def engine_on(self, device: str) -> str:  # noqa: ARG002 - for those that have a choice
        """What computes `forward` on a type of device, such as `cpu`; a part of the cache key."""
        return "eager"

    def fingerprint(self, layer: str) -> dict[str, object]:
        """All that changes a layer's features, weights by content; a part of the cache key."""
        return {
            "backbone": self.name,
            "layer": layer,
            "pool": self.pools[self.layers.index(layer)],
            "image_size": list(self.image_size),
        }


def pool_features(feature_map: Tensor, pool: int) -> Tensor:
    """Average-pool a feature map without overlap.

    Args:
        feature_map: `(N, C, h, w)`.
        pool: Kernel and stride; rows and columns that fill no kernel are dropped.

    Returns:
        `(N, C, h // pool, w // pool)`.
    """
    return feature_map if pool == 1 else F.avg_pool2d(feature_map, kernel_size=pool, stride=pool)
