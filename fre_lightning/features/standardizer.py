"""Compression and per-channel scaling of features, learnt from the training features."""

from collections.abc import Callable

import torch
from torch import Tensor

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.fitted import FittedBuffers

COMPRESSIONS = ("none", "sqrt", "cbrt", "log")

_LOG_OFFSET = 0.2

# What a channel's scale depends on the noise in it by: the power of the held-out variance. Half way
# from the same variance of all channels (0) to the same noise (1/2): in trials on synthetic parts
# it gained up to 0.03 of image AUROC over 0 and lost 0.013 once, near chance (bolts, 10 images).
_NOISE_POWER = 0.25
# A channel that is reconstructed better than this fraction of the mean counts as reconstructed so.
_LEAST_NOISE = 1e-3
# Below, it does not vary but by rounding.
_NO_NOISE = 1e-9

# Below this fraction of its mean, the standard deviation of a channel is rounding.
_LEAST_VARIATION = 1e-6


class ChannelStandardizer(FittedBuffers):
    """Compress each feature, then divide each channel by its standard deviation.

    Channels that images tell little of, as others of their kind cannot predict them, would then
    drown the rest: `damp_noise` turns them down.

    `none` leaves the features as they are, unscaled: what the published procedure does.
    `sqrt` and `cbrt` are the roots of non-negative features, odd functions elsewhere;
    `log` is log(x / channel mean + 0.2) of non-negative features. It takes negative ones for
    zero, so that of signed channels, the colour averages of scattering, it sees one sign only.

    Attributes:
        scale: `(C,)` float32, the reciprocal standard deviation of each compressed channel;
            constant channels have 1.
        channel_mean: `(C,)` float32, for `log` the mean of each channel before compression,
            negative features counted as zeros; channels without positive features have 1.
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

    def fit(self, features: FeatureMatrix, n_channels: int) -> None:
        """Learn the scale of each channel from `(N, C * h * w)` training features."""
        if self.compression == "none":
            return
        self.n_positions = features.shape[1] // n_channels
        device = self.scale.device
        if self.compression == "log":
            mean, _ = self._channel_moments(features, n_channels, lambda rows: rows.clamp(min=0))
            has_positive = mean > torch.finfo(torch.float32).tiny
            self.channel_mean = torch.where(has_positive, mean, 1.0).float().to(device)
        channels = (torch.arange(features.shape[1]) // self.n_positions).to(device)
        mean, deviation = self._channel_moments(
            features, n_channels, lambda rows: self._compress(rows, channels)
        )
        varies = deviation > _LEAST_VARIATION * mean.abs()
        self.scale = torch.where(varies, 1 / deviation, 1.0).float().to(device)

    def damp_noise(self, noise: Tensor) -> None:
        """Scale channels down the more, the worse they are reconstructed.

        Args:
            noise: `(C,)`, the mean squared error of each channel of standardised held-out images.
                Channels without any are left as they are.
        """
        relative = noise / noise.mean().clamp(min=torch.finfo(noise.dtype).tiny)
        is_constant = relative < _NO_NOISE  # as are all colours of grey images
        factor = relative.clamp(min=_LEAST_NOISE).pow(-_NOISE_POWER)
        self.scale = self.scale * torch.where(is_constant, 1.0, factor).to(self.scale)

    def forward(self, features: Tensor, first_column: int = 0) -> Tensor:
        """Standardise features.

        Args:
            features: `(N, d)` float, a block of columns.
            first_column: Where among the D columns the block starts.

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
        self, features: FeatureMatrix, n_channels: int, function: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Mean and deviation of a function of each channel's features, `(C,)` float64 each."""
        total, squares = torch.zeros(2, n_channels, dtype=torch.float64)
        for _, rows in features.row_blocks():
            values = function(rows).view(len(rows), n_channels, self.n_positions).double()
            total += values.sum(dim=(0, 2)).cpu()
            squares += values.square().sum(dim=(0, 2)).cpu()
        mean = total / (features.shape[0] * self.n_positions)
        variance = squares / (features.shape[0] * self.n_positions) - mean.square()
        return mean, variance.clamp(min=0).sqrt()

    def get_extra_state(self) -> int:
        """The number of positions a channel has, which `state_dict` would otherwise lose."""
        return self.n_positions

    def set_extra_state(self, state: int) -> None:
        """Restore `get_extra_state`'s number."""
        self.n_positions = state
