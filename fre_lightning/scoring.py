"""From feature maps to scores and anomaly maps: pure functions of tensors."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from fre_lightning.errors import ConfigError
from fre_lightning.learnt import LearntBuffers


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


class Scoring(LearntBuffers, ABC):
    """How image scores and anomaly maps are made of error maps."""

    name: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.add_learnt()

    def fit(self, held_out_maps: Tensor) -> None:
        """Learn from held-out error maps of normal images, `(N, h, w)`."""

    def normalize(self, error_maps: Tensor) -> Tensor:
        """Make `(N, h, w)` error maps comparable between positions, layers and categories."""
        return error_maps

    @abstractmethod
    def image_score(self, normalized_maps: Tensor) -> Tensor:
        """Image scores `(N,)` of normalised error maps `(N, h, w)`."""

    def anomaly_map(self, normalized_maps: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Anomaly maps `(N, H, W)` of normalised error maps `(N, h, w)`."""
        return resize_map(normalized_maps, image_size)


class PaperScoring(Scoring):
    """The published procedure: the sum of the squared error, and its map resized."""

    name: ClassVar[str] = "paper"

    def image_score(self, normalized_maps: Tensor) -> Tensor:
        """The whole squared error, `(N, h, w)` to `(N,)`."""
        return normalized_maps.sum(dim=(1, 2))


class TopKScoring(Scoring):
    """The mean of the highest part of a map that is divided by what is normal at each position.

    The sum dilutes small defects. And some positions reconstruct worse than others whatever the
    image; held-out normal images show by how much. Both were found by experiment.

    Attributes:
        expected: `(h, w)` float32, what maps are divided by; empty before `fit`.
    """

    name: ClassVar[str] = "topk"
    expected: Tensor

    def __init__(self, top_fraction: float, position_norm: float) -> None:
        """Store settings.

        Args:
            top_fraction: The share of the map, its highest cells, whose mean is the image score.
            position_norm: The power of the expected error that maps are divided by: 0 leaves
                them, 1 makes all positions equal, 0.5 lies between.

        Raises:
            ConfigError: If a setting is out of range.
        """
        super().__init__()
        if not 0 < top_fraction <= 1 or not 0 <= position_norm <= 1:
            msg = (
                f"scoring.top_fraction={top_fraction} must lie in (0, 1], and "
                f"scoring.position_norm={position_norm} in [0, 1]."
            )
            raise ConfigError(msg)
        self.top_fraction = top_fraction
        self.position_norm = position_norm
        self.add_learnt("expected")

    def fit(self, held_out_maps: Tensor) -> None:
        """Learn what error is normal where, from `(N, h, w)` maps of held-out normal images."""
        mean = held_out_maps.mean(dim=0)
        smooth = F.avg_pool2d(mean[None], 3, stride=1, padding=1, count_include_pad=False)[0]
        # No position is so dull that the least error there would outshine everything.
        expected = smooth.clamp(min=1e-3 * float(smooth.mean())) ** self.position_norm
        # A second factor puts normal images at 1, whatever the layer and the category.
        self.expected = (expected * (mean / expected).mean()).to(self.expected.device)

    def normalize(self, error_maps: Tensor) -> Tensor:
        """Divide `(N, h, w)` maps by the expected error; before `fit`, leave them."""
        return error_maps / self.expected if len(self.expected) else error_maps

    def image_score(self, normalized_maps: Tensor) -> Tensor:
        """The mean of each map's highest cells, `(N, h, w)` to `(N,)`."""
        cells = normalized_maps.flatten(1)
        n_top = max(1, round(self.top_fraction * cells.shape[1]))
        return cells.topk(n_top, dim=1).values.mean(dim=1)
