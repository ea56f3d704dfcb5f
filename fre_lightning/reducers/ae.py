"""The reducers AE and TAE, linear autoencoders trained in the subspace of their training data."""

from contextlib import nullcontext
from typing import ClassVar

import torch
from torch import Tensor

from fre_lightning.collective import add_up
from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.base import GradientReducer
from fre_lightning.reducers.rank import find_rank
from fre_lightning.reducers.subspace import Subspace, find_subspace
from fre_lightning.reducers.training import TrainingState, Weights
from fre_lightning.threads import intra_op_threads


class Autoencoder(GradientReducer):
    """A linear autoencoder whose encoder and decoder are trained independently.

    The published training is Adam on the mean squared error over D features, from Xavier-uniform
    weights and zero biases. Two things keep it from converging within its 250 epochs: the biases
    have to reach the mean by steps of the learning rate, and Adam's steps have one size along all
    D features, although the data vary along at most N - 1 directions, each at its own scale.
    So the features are centred and rotated into their principal axes, which is an isometry: the
    model and the loss are the same, with far fewer parameters, each at one scale. The decoder
    starts as the encoder transposed, and is then trained freely. `space="features"` trains on the
    D features, as published.

    Args:
        n_components: See `find_rank`; the number is that of PCA on the same features.
        epochs: Passes over the training features.
        lr: Adam's learning rate.
        batch_size: Training images per step.
        space: The coordinates to train in, `span` (the principal axes) or `features`.

    Raises:
        ConfigError: If a setting is out of range.
    """

    name: ClassVar[str] = "ae"
    tied: ClassVar[bool] = False

    def __init__(
        self, n_components: float | str, epochs: int, lr: float, batch_size: int, space: str
    ) -> None:
        super().__init__(n_components)
        if space not in {"span", "features"}:
            msg = f"reducer.space={space} is unknown; choose span or features."
            raise ConfigError(msg)
        if min(epochs, batch_size) < 1 or lr <= 0:
            msg = (
                "reducer.epochs, reducer.batch_size and reducer.lr must be positive; "
                f"got {epochs}, {batch_size} and {lr}."
            )
            raise ConfigError(msg)
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.space = space
        self.training_state: TrainingState | None = None

    @torch.no_grad()
    def fit(self, features: FeatureMatrix, device: torch.device | None = None) -> Subspace:
        """Find the subspace and the rank of `(N, D)` features, and draw initial weights."""
        subspace = find_subspace(features, device, self.n_components_requested)
        rank = find_rank(self.n_components_requested, subspace)
        span = self.space == "span"
        inputs = (subspace.coordinates() if span else features.block(slice(None))).float()
        self.training_state = TrainingState(subspace, inputs, rank, tied=self.tied).to(device)
        return subspace

    @torch.no_grad()
    def training_epoch(self) -> Tensor:
        """Train for one shuffled pass; return the mean squared error over D features, a scalar."""
        # A whole epoch per call: a step takes less time than the bookkeeping of a training loop.
        state = self.training_state
        assert state is not None, "fit() comes before training_epoch()"
        total, n_rows = torch.zeros((), device=state.inputs.device), 0
        with intra_op_threads(1) if state.is_small else nullcontext():
            for batch in state.shuffled_batches(self.batch_size):
                total += state.backward(batch) * len(batch)
                state.step(self.lr)
                n_rows += len(batch)
        outside = state.subspace.left_out if self.space == "span" else 0.0
        return add_up(total) / n_rows + outside / state.subspace.features.shape[1]

    @torch.no_grad()
    def finish(self) -> None:
        """Store the trained weights, and drop the state of training."""
        assert self.training_state is not None, "fit() comes before finish()"
        weights, subspace = self.training_state.weights, self.training_state.subspace
        # A view would keep the whole flat vector, in memory and in a checkpoint.
        weights = Weights(*(weight.clone() for weight in weights))
        self.training_state = None
        encoder, decoder, bias = weights.encoder, weights.decoder, weights.decoder_bias
        mean = torch.zeros_like(subspace.mean)
        if self.space == "span":
            mean, k = subspace.mean, len(encoder)
            parts = [encoder, bias[None], *([] if self.tied else [decoder])]
            lifted = subspace.lift(torch.cat(parts))  # once, as it reads all features
            encoder, bias, decoder = lifted[:k], mean + lifted[k].to(mean), lifted[k + 1 :]
        self.set_weights(mean, encoder, None if self.tied else decoder, weights.encoder_bias, bias)


class TiedAutoencoder(Autoencoder):
    """A linear autoencoder with one weight matrix: its decoder is its encoder transposed."""

    name: ClassVar[str] = "tae"
    tied: ClassVar[bool] = True
