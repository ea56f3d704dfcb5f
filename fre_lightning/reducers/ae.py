"""The linear autoencoder, trained by gradient descent in the span of its own training data."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.base import GradientReducer
from fre_lightning.reducers.rank import find_rank
from fre_lightning.reducers.subspace import Subspace, find_subspace
from fre_lightning.threads import intra_op_threads

_MIN_THREADED_WEIGHTS = 2**17
"""Below, threads save no time; and while other programs compute they cost 10 to 40 times more."""


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
        self.trainee: _Trainee | None = None

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
        self.trainee = _Trainee(subspace, inputs.float(), rank, tied=self.tied).to(device)
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
        weights = _Weights(*(weight.clone() for weight in weights))
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


class _Weights(NamedTuple):
    """Views of one flat vector of weights, or of its gradient; `decoder` is `encoder` if tied."""

    encoder: Tensor  # (k, r)
    encoder_bias: Tensor  # (k,)
    decoder_bias: Tensor  # (r,)
    decoder: Tensor  # (k, r)


class _Trainee(nn.Module):
    """The weights in training over r coordinates, and the training data in them."""

    inputs: Tensor
    flat: Tensor
    gradient: Tensor
    first_moment: Tensor
    second_moment: Tensor
    n_steps: Tensor

    def __init__(self, subspace: Subspace, inputs: Tensor, rank: int, *, tied: bool) -> None:
        super().__init__()
        self.subspace = subspace
        self.rank = rank
        self.tied = tied
        n_inputs = inputs.shape[1]
        self.register_buffer("inputs", inputs, persistent=False)
        encoder = nn.init.xavier_uniform_(torch.empty(rank, n_inputs)).flatten()
        biases = torch.zeros(rank + n_inputs)
        # Drawn apart, an untied pair first spends epochs on finding each other: with 48 images the
        # residual ends at 2.2 times PCA's instead of 1.3, with 220 at 1.16 instead of 1.10.
        decoder = encoder.new_empty(0) if tied else encoder
        # One vector: an optimizer takes longer over four tensors than over their numbers.
        flat = torch.cat([encoder, biases, decoder])
        self.register_buffer("flat", flat, persistent=False)
        for name in ("gradient", "first_moment", "second_moment"):
            self.register_buffer(name, torch.zeros_like(flat), persistent=False)
        self.register_buffer("n_steps", torch.zeros(()), persistent=False)

    @property
    def is_small(self) -> bool:
        """Whether threads within an operation save nothing."""
        return self.rank * self.inputs.shape[1] < _MIN_THREADED_WEIGHTS

    @property
    def weights(self) -> _Weights:
        """The weights, as views."""
        return self._view(self.flat)

    def shuffled_batches(self, batch_size: int) -> Iterator[Tensor]:
        """All items of the training data in random order, `(batch_size, r)` at a time.

        Of copies of an item one is drawn, as augmented images are each epoch of a network's
        training: all of them would take as many times longer.
        """
        n_copies = self.subspace.features.n_copies
        n_items = len(self.inputs) // n_copies
        order = torch.randperm(n_items)
        if n_copies > 1:
            order += n_items * torch.randint(n_copies, (n_items,))
        return iter(torch.split(self.inputs[order.to(self.inputs.device)], batch_size))

    def backward(self, batch: Tensor) -> Tensor:
        """Set the gradient of the loss, by hand: autograd takes longer than the arithmetic.

        Args:
            batch: `(n, r)` coordinates.

        Returns:
            Their squared error, averaged over images and all D features, a scalar.
        """
        weights, gradient = self.weights, self._view(self.gradient)
        encoded = torch.addmm(weights.encoder_bias, batch, weights.encoder.T)
        error = torch.addmm(weights.decoder_bias, encoded, weights.decoder).sub_(batch)
        scale = 1 / (len(batch) * self.subspace.features.shape[1])
        loss = torch.dot(error.flatten(), error.flatten()) * scale
        error.mul_(2 * scale)
        backwards = error @ weights.decoder.T  # d loss / d encoded
        torch.mm(backwards.T, batch, out=gradient.encoder)
        torch.sum(backwards, dim=0, out=gradient.encoder_bias)
        torch.sum(error, dim=0, out=gradient.decoder_bias)
        if self.tied:
            gradient.decoder.addmm_(encoded.T, error)
        else:
            torch.mm(encoded.T, error, out=gradient.decoder)
        return loss

    def step(self, lr: float) -> None:
        """Move the weights against the gradient: Adam, without its class's bookkeeping per step.

        `torch.optim.Adam.step` looks for CUDA each time, which takes as long as the arithmetic.
        """
        adam(
            [self.flat],
            [self.gradient],
            [self.first_moment],
            [self.second_moment],
            [],
            [self.n_steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def _view(self, flat: Tensor) -> _Weights:
        rank, n_inputs = self.rank, self.inputs.shape[1]
        sizes = [rank * n_inputs, rank, n_inputs, 0 if self.tied else rank * n_inputs]
        encoder, encoder_bias, decoder_bias, decoder = torch.split(flat, sizes)
        encoder = encoder.view(rank, n_inputs)
        decoder = encoder if self.tied else decoder.view(rank, n_inputs)
        return _Weights(encoder, encoder_bias, decoder_bias, decoder)
