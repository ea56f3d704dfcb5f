"""What every backbone is: a frozen function from images to a feature map."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from fre_lightning.images import parse_image_size
from fre_lightning.standardization import ChannelStandardizer


class Backbone(nn.Module, ABC):
    """A frozen network (or transform) that is asked for one feature map.

    It owns all that happens between the resized image and the feature map, its normalisation
    included, so that whoever holds the backbone needs nothing else.

    Attributes:
        name: What tables and folders call it, for example `resnet18`.
        layer: The layer whose output is the feature map.
        pool: Kernel and stride of the average pooling that turns the map into features.
        image_size: `(H, W)` of the images it is given.
        standardizer: Applied to the pooled, flattened features before the reducer. It may learn
            from the training features, so its result is never cached.
        cache_dir: Where `accelerate` may keep what takes long to build; None: nowhere.
    """

    cache_dir: Path | None = None

    def __init__(
        self,
        name: str,
        layer: str,
        pool: int,
        image_size: int | Sequence[int],
        compression: str = "none",
    ) -> None:
        super().__init__()
        self.name = name
        self.layer = layer
        self.pool = pool
        self.image_size = parse_image_size(image_size)
        self.standardizer = ChannelStandardizer(compression)

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
    def forward(self, images: Tensor) -> Tensor:
        """Compute feature maps.

        Args:
            images: `(N, 3, H, W)` uint8, RGB.

        Returns:
            `(N, C, h, w)` float.
        """

    def accelerate(self, n_threads: int, precision: str) -> None:
        """Make `forward` fast on the device that the backbone is on, for images to come.

        Args:
            n_threads: How many CPU threads may call `forward` at the same time.
            precision: The trainer's, for example `32-true` or `bf16-mixed`.
        """

    @property
    def n_together(self) -> int | None:
        """How many images a CPU thread works on at a time; None: `forward` threads by itself."""
        return 1

    def engine_on(self, device: str) -> str:  # noqa: ARG002 - for those that have a choice
        """What computes `forward` on a type of device, such as `cpu`; a part of the cache key."""
        return "eager"

    def fingerprint(self) -> dict[str, object]:
        """All that changes a feature map, weights by content; a part of the cache key."""
        return {
            "backbone": self.name,
            "layer": self.layer,
            "image_size": list(self.image_size),
            "weights": state_digest(self, leave_out="standardizer."),
        }


def state_digest(module: nn.Module, leave_out: str) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a module's parameters and buffers.

    Args:
        module: Any module.
        leave_out: A prefix of keys that do not count.
    """
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        if key.startswith(leave_out):
            continue
        digest.update(f"{key} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
