"""The base class of reducers: once fitted, a linear projection of features and back."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from fre_lightning.errors import FeatureError, FREError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.fitted import FittedBuffers, rounded_to_half
from fre_lightning.reducers.subspace import Subspace


class NotFittedError(FREError):
    """A reducer was asked to encode before it was fitted."""


class Reducer(FittedBuffers, ABC):
    """An affine map to `n_components` values and back: `(x - mean) E^T + a`, and `z F + b`.

    A new reducer derives from this class, or from `GradientReducer` if it is trained in epochs:

    - It is affine, because exports and held-out scores rely on it; the five tensors are all that
      it learns.
    - The class variables `name` and `tied` are set.
    - `fit` computes the tensors, stores them with `set_weights`, and returns the `Subspace` of the
      data, from which held-out errors are computed.
    - `configs/reducer/<name>.yaml` gives each constructor parameter.

    Args:
        n_components: A share of the variance in (0, 1), a number of components, or `held_out`, see
            `find_rank`.

    Attributes:
        mean: `(D,)` float32, subtracted before encoding; as a rule the training features' mean.
        encoder_weight: `(k, D)` float32, E.
        encoder_bias: `(k,)` float32, a.
        decoder_weight: `(k, D)` float32, F; the same tensor as `encoder_weight` if `tied`.
        decoder_bias: `(D,)` float32, b.
        name: Its name in tables and on the command line.
        tied: Whether the decoder is the encoder transposed.
    """

    name: ClassVar[str]
    tied: ClassVar[bool]
    mean: Tensor
    encoder_weight: Tensor
    encoder_bias: Tensor
    decoder_bias: Tensor

    def __init__(self, n_components: float | str) -> None:
        super().__init__()
        self.n_components_requested = n_components
        names = ("mean", "encoder_weight", "encoder_bias", "decoder_bias")
        self.add_buffers(*names, *(() if self.tied else ("untied_decoder_weight",)))

    @abstractmethod
    def fit(self, features: FeatureMatrix, device: torch.device | None = None) -> Subspace:
        """Learn from `(N, D)` training features, forgetting any earlier fit.

        Args:
            features: All training features.
            device: Where to compute; None is the CPU. The tensors stay where the module is.

        Returns:
            The subspace of the features.

        Raises:
            FeatureError: If there are fewer than two images, or the features do not vary.
            ConfigError: If more components are asked for than the features have.
        """

    @property
    def n_components(self) -> int:
        """The number of components k; 0 before fitting."""
        return self.encoder_weight.shape[0]

    @property
    def is_fitted(self) -> bool:
        """Whether there are weights, from a fit or a checkpoint."""
        return self.n_components > 0

    @property
    def decoder_weight(self) -> Tensor:
        """`(k, D)`, F."""
        return self.encoder_weight if self.tied else self.get_buffer("untied_decoder_weight")

    def set_weights(
        self,
        mean: Tensor,
        encoder_weight: Tensor,
        decoder_weight: Tensor | None = None,
        encoder_bias: Tensor | None = None,
        decoder_bias: Tensor | None = None,
    ) -> None:
        """Store a fit; the biases default to those of a projection: zero, and the mean."""
        device = self.mean.device
        self.mean = mean.float().to(device)
        self.encoder_weight = encoder_weight.float().to(device)
        bias = torch.zeros(len(encoder_weight)) if encoder_bias is None else encoder_bias
        self.encoder_bias = bias.float().to(device)
        self.decoder_bias = (mean if decoder_bias is None else decoder_bias).float().to(device)
        if decoder_weight is not None:
            self._buffers["untied_decoder_weight"] = decoder_weight.float().to(device)

    def round_weights(self) -> None:
        """Take the nearest weights of half precision, as which checkpoints can store them."""
        self.encoder_weight = rounded_to_half(self.encoder_weight)
        if not self.tied:
            self._buffers["untied_decoder_weight"] = rounded_to_half(self.decoder_weight)

    def encode(self, features: Tensor) -> Tensor:
        """Project `(N, D)` features to `(N, k)`.

        Raises:
            NotFittedError: If there are no weights yet.
        """
        if not self.is_fitted:
            msg = f"{type(self).__name__} is not fitted yet: fit it, or load a checkpoint."
            raise NotFittedError(msg)
        return torch.addmm(self.encoder_bias, features - self.mean, self.encoder_weight.T)

    def decode(self, encoded: Tensor) -> Tensor:
        """Map `(N, k)` back to `(N, D)` features."""
        return torch.addmm(self.decoder_bias, encoded, self.decoder_weight)

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct `(N, D)` features."""
        return self.decode(self.encode(features))

    def squared_errors(self, features: Tensor) -> Tensor:
        """Squared reconstruction errors `(N,)` of `(N, D)` features, summed over D."""
        error: Tensor = (features - self(features)).square().sum(dim=1)
        return error


class GradientReducer(Reducer, ABC):
    """A reducer trained in epochs: `fit` prepares, `training_epoch` trains, `finish` ends."""

    epochs: int
    """The number of calls of `training_epoch`."""

    @abstractmethod
    def training_epoch(self) -> Tensor:
        """Train for one pass over the features; return their mean squared error, a scalar."""

    @abstractmethod
    def finish(self) -> None:
        """Store the trained weights with `set_weights`, and drop the state of training."""

    def checked_epoch(self, epoch: int) -> float:
        """`training_epoch`, whose loss must be a finite number.

        Args:
            epoch: Its number, for the message.

        Raises:
            FeatureError: If it is none.
        """
        loss = float(self.training_epoch())
        if not math.isfinite(loss):
            msg = f"The loss became {loss} in epoch {epoch}. Choose a smaller reducer.lr."
            raise FeatureError(msg)
        return loss


def train(reducer: Reducer) -> None:
    """Train a reducer that `fit` prepared, for all of its epochs; others are ready.

    Raises:
        FeatureError: If a loss is no finite number.
    """
    if isinstance(reducer, GradientReducer):
        for epoch in range(reducer.epochs):
            reducer.checked_epoch(epoch)
        reducer.finish()
