"""The scoring rule: from reconstruction errors to image scores and anomaly maps."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from fre_lightning.errors import ConfigError
from fre_lightning.fitted import FittedBuffers
from fre_lightning.images.resizing import resize_map
from fre_lightning.images.tiling import Tiling

STATISTICS = ("sum", "max", "top")
FUSIONS = ("mean", "max")

_PRIOR_IMAGES = 20
"""As many images the earlier profile of positions counts for when a few later ones are learnt."""


def error_map(error: Tensor, feature_shape: tuple[int, int, int]) -> Tensor:
    """Sum the squared reconstruction error over channels (FRE, Ndiour et al. 2023, eq. 3).

    Args:
        error: `(N, D)`, features minus their reconstruction.
        feature_shape: `(C, h, w)` with C * h * w = D.

    Returns:
        `(N, h, w)`, not negative.
    """
    return error.view(-1, *feature_shape).square().sum(dim=1)


class Scoring(FittedBuffers):
    """Image scores and anomaly maps from the error maps of one or several layers.

    Layers differ in scale, and some positions have larger errors than others in every image. So
    each layer's maps are divided by its expected error, learnt from held-out normal images:
    `level * profile`, where the profile is the smoothed mean map to the power of `position_norm`,
    and the level gives maps of normal images a mean of 1. Maps of several layers are then resized
    to the largest map's size and fused.

    Args:
        name: Its name in tables.
        statistic: The image score of a map: `sum`, `max`, or `top`, the mean of its highest cells.
            The sum dilutes small defects.
        top_fraction: The share of the cells that `top` averages, in (0, 1].
        position_norm: Exponent of the expected error at each position, in [0, 1]: 0 leaves
            positions as they are, 1 makes all equal. None: maps of a single layer are not divided
            at all.
        fusion: How maps of several layers are fused: `mean` or `max`.
        weights: One for each layer; None: all are equal.
        smoothing: Standard deviation, in pixels, of a Gaussian that smooths anomaly maps; 0: none.

    Raises:
        ConfigError: If a setting is out of range.

    Attributes:
        expected: The expected errors of all layers, `(h, w)` each, flattened and concatenated,
            float32; empty before `fit`, or if maps are not divided.
    """

    expected: Tensor

    def __init__(
        self,
        name: str,
        statistic: str,
        top_fraction: float,
        position_norm: float | None,
        fusion: str,
        weights: Sequence[float] | None,
        smoothing: float,
    ) -> None:
        super().__init__()
        for key, word, known in (("statistic", statistic, STATISTICS), ("fusion", fusion, FUSIONS)):
            if word not in known:
                msg = f"scoring.{key}={word} is unknown; choose one of {', '.join(known)}."
                raise ConfigError(msg)
        if not 0 < top_fraction <= 1 or not 0 <= (position_norm or 0) <= 1 or smoothing < 0:
            msg = (
                f"scoring.top_fraction={top_fraction} must lie in (0, 1], "
                f"scoring.position_norm={position_norm} in [0, 1], and "
                f"scoring.smoothing={smoothing} not be negative."
            )
            raise ConfigError(msg)
        self.name = name
        self.statistic = statistic
        self.top_fraction = top_fraction
        self.position_norm = position_norm
        self.fusion = fusion
        self.weights = None if weights is None else tuple(weights)
        self.smoothing = smoothing
        self.add_buffers("expected")

    def fit(self, held_out_maps: Sequence[Tensor], prior: Tensor | None = None) -> None:
        """Learn the expected errors.

        Args:
            held_out_maps: Held-out error maps of normal images, `(N, h, w)` of each layer.
            prior: The `expected` of an earlier fit. Few images tell the level of each layer, but
                its profile only roughly: then it is mostly that of the earlier fit.

        Raises:
            ConfigError: If the numbers of weights and layers differ.
        """
        if self.weights is not None and len(self.weights) != len(held_out_maps):
            msg = f"scoring.weights must be {len(held_out_maps)} numbers, one for each layer."
            raise ConfigError(msg)
        if self.position_norm is None and len(held_out_maps) == 1:
            return
        sizes = [maps[0].numel() for maps in held_out_maps]
        priors = [None] * len(sizes) if prior is None else torch.split(prior, sizes)
        expected = [
            _expected(maps, self.position_norm or 0.0, earlier).flatten()
            for maps, earlier in zip(held_out_maps, priors, strict=True)
        ]
        self.expected = torch.cat(expected).to(self.expected.device)

    def normalize(self, error_maps: Sequence[Tensor]) -> Tensor:
        """Divide error maps by the expected errors, and fuse the layers.

        Args:
            error_maps: `(N, h, w)` of each layer.

        Returns:
            `(N, h, w)`, of the largest map's size.
        """
        maps = list(error_maps)
        if len(self.expected):
            expected = torch.split(self.expected, [m[0].numel() for m in maps])
            maps = [m / e.view(m.shape[1:]) for m, e in zip(maps, expected, strict=True)]
        if len(maps) == 1:
            return maps[0]
        finest = max((m.shape[1:] for m in maps), key=lambda size: size[0] * size[1])
        stack = torch.stack([resize_map(m, (finest[0], finest[1])) for m in maps])
        weights = stack.new_tensor(self.weights or [1.0] * len(maps))
        stack = stack * weights.view(-1, 1, 1, 1)
        return stack.amax(dim=0) if self.fusion == "max" else stack.sum(dim=0) / weights.sum()

    def image_score(self, normalized_maps: Tensor) -> Tensor:
        """Image scores `(N,)` of normalised maps `(N, h, w)`."""
        cells = normalized_maps.flatten(1)
        if self.statistic == "sum":
            return cells.sum(dim=1)
        n_top = max(1, round(self.top_fraction * cells.shape[1])) if self.statistic == "top" else 1
        return cells.topk(n_top, dim=1).values.mean(dim=1)

    def anomaly_map(
        self, normalized_maps: Tensor, tile_size: tuple[int, int], tiling: Tiling
    ) -> Tensor:
        """Anomaly maps `(N, H, W)`.

        Args:
            normalized_maps: `(N, h, w)`, the maps of an image's tiles side by side.
            tile_size: `(H, W)` of a tile in pixels; of the image if it is not tiled.
            tiling: The arrangement of the tiles.
        """
        maps = tiling.blend(normalized_maps, tile_size)
        if self.smoothing == 0:
            return maps
        reach = min(round(4 * self.smoothing), min(maps.shape[1:]) - 1)
        blurred: Tensor = gaussian_blur(maps[:, None], [2 * reach + 1] * 2, [self.smoothing] * 2)
        return blurred[:, 0]


def _expected(maps: Tensor, position_norm: float, prior: Tensor | None) -> Tensor:
    """The expected error `(h, w)` from `(N, h, w)` error maps of held-out normal images."""
    mean = maps.mean(dim=0)
    smooth = F.avg_pool2d(mean[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    # Without a floor, positions with almost no normal error would dominate the map.
    profile = smooth.clamp(min=1e-3 * float(smooth.mean())) ** position_norm
    if prior is not None:
        share = len(maps) / (len(maps) + _PRIOR_IMAGES)
        earlier = prior.to(mean).view(mean.shape)
        profile = share * profile / profile.mean() + (1 - share) * earlier / earlier.mean()
    return profile * (mean / profile).mean()
