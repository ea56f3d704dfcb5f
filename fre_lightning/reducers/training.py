"""The training of a linear autoencoder by hand: its gradient, and Adam on one flat vector."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from fre_lightning.collective import add_up, from_first, part_of
from fre_lightning.reducers.subspace import Subspace

# With fewer, threads save no time, and are 10 to 40 times slower while other programs compute.
_MIN_THREADED_WEIGHTS = 2**17

_PLAIN = {"fused": True, "amsgrad": False, "maximize": False, "weight_decay": 0.0}
_ADAM: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, **_PLAIN}


class Weights(NamedTuple):
    """Views of one flat vector of weights, or of its gradient; `decoder` is `encoder` if tied."""

    encoder: Tensor  # (k, r)
    encoder_bias: Tensor  # (k,)
    decoder_bias: Tensor  # (r,)
    decoder: Tensor  # (k, r)


class TrainingState(nn.Module):
    """Weights, gradient, Adam's moments and training data, all over r coordinates."""

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
        # Several processes start from the weights of the first, and draw its order of images.
        encoder = from_first(lambda: nn.init.xavier_uniform_(torch.empty(rank, n_inputs))).flatten()
        biases = torch.zeros(rank + n_inputs)
        # Encoder and decoder start equal. Drawn apart, they spend epochs on adapting to each other:
        # with 48 images the residual ends at 2.2 times PCA's instead of 1.3, with 220 at 1.16
        # instead of 1.10.
        decoder = encoder.new_empty(0) if tied else encoder
        # One vector, because four small tensors take an optimizer longer than their arithmetic.
        flat = torch.cat([encoder, biases, decoder])
        self.register_buffer("flat", flat, persistent=False)
        for name in ("gradient", "first_moment", "second_moment"):
            self.register_buffer(name, torch.zeros_like(flat), persistent=False)
        self.register_buffer("n_steps", torch.zeros(()), persistent=False)

    @property
    def is_small(self) -> bool:
        """Whether threads within an operation save no time."""
        return self.rank * self.inputs.shape[1] < _MIN_THREADED_WEIGHTS

    @property
    def weights(self) -> Weights:
        """The weights, as views of `flat`."""
        return self._view(self.flat)

    def shuffled_batches(self, batch_size: int) -> Iterator[Tensor]:
        """All training images in random order, in batches `(batch_size, r)`.

        One of the copies of each image is drawn, as for augmented images in the training of a
        network: all copies would multiply the time of an epoch.
        """
        order = from_first(self._draw_order)
        return iter(torch.split(self.inputs[order.to(self.inputs.device)], batch_size))

    def _draw_order(self) -> Tensor:
        n_copies = self.subspace.features.n_copies
        n_items = len(self.inputs) // n_copies
        order = torch.randperm(n_items)
        if n_copies > 1:
            order += n_items * torch.randint(n_copies, (n_items,))
        return order

    def backward(self, batch: Tensor) -> Tensor:
        """Compute the gradient of the loss by hand: autograd takes longer than the arithmetic.

        Of several processes each takes a share of the batch, and the gradient is that of all of it.

        Args:
            batch: `(n, r)` coordinates.

        Returns:
            The share's part of the loss, squared error averaged over images and all D features, a
            scalar.
        """
        weights, gradient = self.weights, self._view(self.gradient)
        scale = 1 / (len(batch) * self.subspace.features.shape[1])
        batch = batch[part_of(len(batch))]
        encoded = torch.addmm(weights.encoder_bias, batch, weights.encoder.T)
        error = torch.addmm(weights.decoder_bias, encoded, weights.decoder).sub_(batch)
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
        add_up(self.gradient)
        return loss

    def step(self, lr: float) -> None:
        """Take a step of Adam."""
        # `torch.optim.Adam.step` looks for CUDA each time, which takes as long as the arithmetic.
        first, second = [self.first_moment], [self.second_moment]
        adam([self.flat], [self.gradient], first, second, [], [self.n_steps], lr=lr, **_ADAM)

    def _view(self, flat: Tensor) -> Weights:
        rank, n_inputs = self.rank, self.inputs.shape[1]
        sizes = [rank * n_inputs, rank, n_inputs, 0 if self.tied else rank * n_inputs]
        encoder, encoder_bias, decoder_bias, decoder = torch.split(flat, sizes)
        encoder = encoder.view(rank, n_inputs)
        decoder = encoder if self.tied else decoder.view(rank, n_inputs)
        return Weights(encoder, encoder_bias, decoder_bias, decoder)
