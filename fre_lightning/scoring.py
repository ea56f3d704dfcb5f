"""From feature maps to scores and anomaly maps: pure functions of tensors."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F


def pool_features(feature_map: Tensor, pool: int) -> Tensor:
    """Average-pool a feature map without overlap.

    Args:
        feature_map: `(N, C, h, w)`.
        pool: Kernel and stride; rows and columns that fill no kernel are dropped.

    Returns:
        `(N, C, h // pool, w // pool)`.
    """
    return feature_map if pool == 1 else F.avg_pool2d(feature_map, kernel_size=pool, stride=pool)


def error_map(error: Tensor, feature_shape: tuple[int, int, int]) -> Tensor:
    """Sum the squared reconstruction error over channels (FRE, Ndiour et al. 2023, eq. 3).

    Args:
        error: `(N, D)`, features less their reconstruction.
        feature_shape: `(C, h, w)` with C * h * w = D.

    Returns:
        `(N, h, w)`, not negative.
    """
    return error.view(-1, *feature_shape).square().sum(dim=1)


def resize_map(error_maps: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Resize error maps bilinearly with antialias, as published.

    Args:
        error_maps: `(N, h, w)`.
        image_size: `(H, W)`.

    Returns:
        `(N, H, W)`.
    """
    # Antialias changes nothing when a map grows, and costs several times as much.
    shrinks = error_maps.shape[1] > image_size[0] or error_maps.shape[2] > image_size[1]
    resized = F.interpolate(
        error_maps[:, None], size=image_size, mode="bilinear", antialias=shrinks
    )
    return resized[:, 0]


class Scoring(ABC):
    """How image scores and anomaly maps are made of error maps."""

    name: ClassVar[str]

    @abstractmethod
    def image_score(self, error_maps: Tensor) -> Tensor:
        """Image scores `(N,)` of error maps `(N, h, w)`."""

    @abstractmethod
    def anomaly_map(self, error_maps: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Anomaly maps `(N, H, W)` of error maps `(N, h, w)`."""


class PaperScoring(Scoring):
    """The published procedure: the sum of the squared error, and its map resized."""

    name: ClassVar[str] = "paper"

    def image_score(self, error_maps: Tensor) -> Tensor:
        """The whole squared error, `(N, h, w)` to `(N,)`."""
        return error_maps.sum(dim=(1, 2))

    def anomaly_map(self, error_maps: Tensor, image_size: tuple[int, int]) -> Tensor:
        """The error map at the image's size, `(N, H, W)`."""
        return resize_map(error_maps, image_size)
