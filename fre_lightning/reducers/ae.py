"""The linear autoencoder, trained by gradient descent in the span of its own training data."""

from contextlib import nullcontext
from typing import ClassVar

import torch
from torch import Tensor

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.base import GradientReducer
from fre_lightning.reducers.rank import find_rank
from fre_lightning.reducers.subspace import Subspace, find_subspace
from fre_lightning.reducers.training import Trainee, Weights
from fre_lightning.threads import intra_op_threads


class Autoencoder(GradientReducer):
    """A linear autoencoder whose encoder and decoder are trained independently.

    The published training is Adam on the mean squared error over D features, from Xavier-uniform
    weights and zero biases. Two things keep it from converging within its 250 epochs: the biases
    have to find the mean by steps of the learning rate, and Adam takes steps of one size along
    all D features although the data vary along at most N - 1 directions, each at its own scale.
    So the features are centred and rotated into the principal axes of their own span, which is an
    isometry: the same model and the same loss, with far fewer parameters, each of which meets
    one scale only. The decoder starts as the encoder transposed, and is then free.
    `space="features"` trains on the D features as they are, as published.
    """

    name: ClassVar[str] = "ae"
    tied: ClassVar[bool] = False

    def __init__(
        self, n_components: float | str, epochs: int, lr: float, batch_size: int, space: str
    ) -> None:
        """Store settings.

        Args:
            n_components: A share of the variance in (0, 1), of which PCA on the same features
                gives the rank, or the rank itself.
            epochs: Passes over the training features.
            lr: Adam's learning rate.
            batch_size: Training images a step.
            space: `span` or `features`: the coordinates to train in.

        Raises:
            ConfigError: If a setting is out of range.
        """
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
        self.trainee: Trainee | None = None

    @torch.no_grad()
    def fit(self, features: FeatureMatrix, device: torch.device | None = None) -> Subspace:
        """Find the span and the rank of `(N, D)` features, and draw initial weights.

        Returns:
            The span.

        Raises:
            FeatureError: If there are fewer than two images, or the features do not vary.
            ConfigError: If more components are asked for than the features have.
        """
        subspace = find_subspace(features, device)
        rank = find_rank(self.n_components_requested, subspace)
        in_span = self.space == "span"
        inputs = subspace.coordinates() if in_span else features.block(slice(None))
        self.trainee = Trainee(subspace, inputs.float(), rank, tied=self.tied).to(device)
        return subspace

    @torch.no_grad()
    def training_epoch(self) -> Tensor:
        """One shuffled pass over the training features.

        Called once an epoch, not once a step, which takes less time than a training loop's
        bookkeeping.

        Returns:
            The epoch's mean squared error over all elements of the D features, a scalar.
        """
        assert self.trainee is not None, "fit() comes before training_epoch()"
        total, n_rows = torch.zeros((), device=self.trainee.inputs.device), 0
        with intra_op_threads(1) if self.trainee.is_small else nullcontext():
            for batch in self.trainee.shuffled_batches(self.batch_size):
                total += self.trainee.backward(batch) * len(batch)
                self.trainee.step(self.lr)
                n_rows += len(batch)
        return total / n_rows

    @torch.no_grad()
    def finish(self) -> None:
        """Store the trained weights in feature space, and drop what only training needed."""
        assert self.trainee is not None, "fit() comes before finish()"
        weights, subspace = self.trainee.weights, self.trainee.subspace
        # A view would keep the flat vector alive, and in a checkpoint store all of it.
        weights = Weights(*(weight.clone() for weight in weights))
        self.trainee = None
        encoder, decoder, bias = weights.encoder, weights.decoder, weights.decoder_bias
        mean = torch.zeros_like(subspace.mean)
        if self.space == "span":
            mean = subspace.mean
            parts = [encoder, bias[None]] if self.tied else [encoder, bias[None], decoder]
            lifted = subspace.lift(torch.cat(parts))  # reads all features, so once
            encoder, bias, decoder = torch.tensor_split(lifted, [len(encoder), len(encoder) + 1])
            bias = mean + bias[0].to(mean)
        self.set_weights(mean, encoder, None if self.tied else decoder, weights.encoder_bias, bias)
