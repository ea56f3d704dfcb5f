"""Compression and scaling of each channel of features, learnt from the training features."""

from collections.abc import Callable

import torch
from torch import Tensor

from fre_lightning.collective import add_up
from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.fitted import FittedBuffers

COMPRESSIONS = ("none", "sqrt", "cbrt", "log")

_LOG_OFFSET = 0.2

# Exponent that ties a channel's scale to its held-out error: 0 gives all channels equal variance,
# 1/2 equal noise, 1/4 is half way. In trials on synthetic parts it gained up to 0.03 of image AUROC
# over 0, and lost 0.013 once, near chance (bolts, 10 images).
_NOISE_POWER = 0.25
# Smaller errors, relative to the mean error of all channels, count as this.
_LEAST_NOISE = 1e-3
# Below this relative error a channel is constant but for rounding.
_NO_NOISE = 1e-9

# Below this fraction of its mean, the standard deviation of a channel is a rounding error.
_LEAST_VARIATION = 1e-6


class ChannelStandardizer(FittedBuffers):
    """Compress each feature, then divide each channel by its standard deviation.

    Channels that held-out images cannot predict are mostly noise and would dominate; `damp_noise`
    scales them down.

    Compressions: `none` leaves features unchanged and unscaled, as the published procedure does.
    `sqrt` and `cbrt` are roots, continued as odd functions to negative features. `log` is
    log(x / channel mean + 0.2), with negative features taken as zero, so that it ignores one sign
    of signed channels (the colour averages of scattering).

    Attributes:
        scale: `(C,)` float32, the reciprocal standard deviation of each compressed channel, times
            the factor of `damp_noise`; constant channels have 1. Empty before `fit`.
        channel_mean: `(C,)` float32, for `log` only: the mean of each channel before compression,
            with negative features taken as zero; channels without positive features have 1.
    """

    scale: Tensor
    channel_mean: Tensor

    def __init__(self, compression: str) -> None:
        super().__init__()
        if compression not in COMPRESSIONS:
            msg = f"compression={compression} is unknown; choose one of {', '.join(COMPRESSIONS)}."
            raise ConfigError(msg)
        self.compression = compression
        self.n_positions = 1
        self.add_buffers("scale", "channel_mean")

    def fit(self, features: FeatureMatrix, n_channels: int, weights: Tensor | None = None) -> None:
        """Learn the scale of each channel.

        Args:
            features: `(N, C * h * w)` training features.
            n_channels: C.
            weights: `(R, h * w)`, of the positions in each of R rows, and so on for the next R;
                None: all are equal.
        """
        if self.compression == "none":
            return
        self.n_positions = features.shape[1] // n_channels
        device = self.scale.device
        if self.compression == "log":
            mean, _ = self._channel_moments(
                features, n_channels, weights, lambda rows: rows.clamp(min=0)
            )
            has_positive = mean > torch.finfo(torch.float32).tiny
            self.channel_mean = torch.where(has_positive, mean, 1.0).float().to(device)
        channels = (torch.arange(features.shape[1]) // self.n_positions).to(device)
        mean, deviation = self._channel_moments(
            features, n_channels, weights, lambda rows: self._compress(rows, channels)
        )
        varies = deviation > _LEAST_VARIATION * mean.abs()
        self.scale = torch.where(varies, 1 / deviation, 1.0).float().to(device)

    def damp_noise(self, noise: Tensor) -> None:
        """Scale channels down by their held-out error.

        Args:
            noise: `(C,)`, the mean squared held-out error of each standardised channel. Channels
                without error are constant and keep their scale.
        """
        relative = noise / noise.mean().clamp(min=torch.finfo(noise.dtype).tiny)
        is_constant = relative < _NO_NOISE  # for example the colours of grey images
        factor = relative.clamp(min=_LEAST_NOISE).pow(-_NOISE_POWER)
        self.scale = self.scale * torch.where(is_constant, 1.0, factor).to(self.scale)

    def forward(self, features: Tensor, first_column: int = 0) -> Tensor:
        """Standardise features.

        Args:
            features: `(N, d)` float, a block of columns.
            first_column: The block's first column among the D columns.

        Returns:
            `(N, d)` float, a new tensor unless the compression is `none`.
        """
        if self.compression == "none":
            return features
        columns = torch.arange(first_column, first_column + features.shape[1])
        channels = (columns // self.n_positions).to(self.scale.device)
        return self._compress(features, channels) * self.scale[channels].to(features.device)

    def _compress(self, features: Tensor, channels: Tensor) -> Tensor:
        if self.compression == "log":
            mean = self.channel_mean[channels].to(features.device)
            return torch.log(features.clamp(min=0) / mean + _LOG_OFFSET)
        exponent = 0.5 if self.compression == "sqrt" else 1 / 3
        return features.abs().pow(exponent).copysign(features)

    def _channel_moments(
        self,
        features: FeatureMatrix,
        n_channels: int,
        weights: Tensor | None,
        function: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel after `function`, `(C,)` float64 each."""
        total, squares = torch.zeros(2, n_channels, dtype=torch.float64)
        count = float(features.shape[0] * self.n_positions)
        if weights is not None:
            count = float(weights.double().sum()) * features.shape[0] / len(weights)
        for index, rows in features.row_blocks(shared=True):
            values = function(rows).view(len(rows), n_channels, self.n_positions).double()
            weighed = values
            if weights is not None:
                numbers = torch.arange(index.start, index.stop) % len(weights)
                weighed = values * weights[numbers][:, None].to(values)
            total += weighed.sum(dim=(0, 2)).cpu()
            squares += (weighed * values).sum(dim=(0, 2)).cpu()
        mean = add_up(total) / count
        variance = add_up(squares) / count - mean.square()
        return mean, variance.clamp(min=0).sqrt()

    def get_extra_state(self) -> int:
        """The number of positions of a channel, which is no buffer."""
        return self.n_positions

    def set_extra_state(self, state: int) -> None:
        """Restore the number of positions."""
        self.n_positions = state
