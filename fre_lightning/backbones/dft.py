"""Discrete Fourier transforms as products of real matrices, for graphs without complex numbers.

A transform of n = a b points along an axis is two products (Cooley and Tukey 1965): one over the
a blocks of the input, then, for each of the a residues of the output with its own matrix, which
holds the twiddle factors, one over the b places in a block. Real and imaginary parts lie on an
axis of length 2 before the one that is transformed, so that a step is one real product.

`torch.fft` replaces this module once the ONNX exporter supports it: an inverse transform of two
axes is not supported yet (https://github.com/pytorch/pytorch/issues/164698).
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class AxisDFT(nn.Module):
    """`y[m] = sum_n x[n] exp(+-2 pi i n m / n_out)` along the axis before the last.

    There may be several times as many inputs as outputs; they fold onto each other.

    Args:
        n_in: Number of inputs, a multiple of `n_out`.
        n_out: Number of outputs, and the period.
        sign: Of the exponent: -1 forwards, 1 backwards.
        is_real: Whether the input has no imaginary part.
    """

    blocks: Tensor
    residues: Tensor

    def __init__(self, n_in: int, n_out: int, *, sign: int, is_real: bool = False) -> None:
        super().__init__()
        n_blocks = _divisor_near_root(n_out)
        n_places = n_out // n_blocks
        self.n_places = n_places
        self.shape = (n_blocks, 2, n_places)
        # Input n = block * n_places + place; output m = residue + n_blocks * turn.
        block = np.arange(n_in // n_places)
        residue, place, turn = np.arange(n_blocks), np.arange(n_places), np.arange(n_places)
        over_blocks = np.outer(residue, block) / n_blocks
        outputs = residue[:, None] + n_blocks * turn
        over_places = outputs[..., None] * place / n_out
        blocks = _as_real(over_blocks, sign)  # (residue, 2, 2, block)
        if is_real:
            blocks = blocks[:, :, :1]
        self._keep("blocks", blocks.reshape(2 * n_blocks, -1))
        residues = np.moveaxis(_as_real(over_places, sign), 2, 3)  # (residue, 2, turn, 2, place)
        self._keep("residues", residues.reshape(n_blocks, 2 * n_places, 2 * n_places))

    def _keep(self, name: str, values: NDArray[np.float64]) -> None:
        matrix = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        self.register_buffer(name, matrix, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Transform `(n, 2 or 1, n_in, w)` to `(n, a, 2, b, w)`: output r + a t is at r, t."""
        n, width = values.shape[0], values.shape[-1]
        values = self.blocks @ values.reshape(n, self.blocks.shape[1], self.n_places * width)
        n_blocks, _, n_places = self.shape
        values = self.residues @ values.view(n, n_blocks, 2 * n_places, width)
        return values.view(n, *self.shape, width)


class PlaneDFT(nn.Module):
    """Spectra of real planes."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.over_rows = AxisDFT(height, height, sign=-1, is_real=True)
        self.over_columns = AxisDFT(width, width, sign=-1)

    def forward(self, planes: Tensor) -> Tensor:
        """`(n, H, W)` to `(n, 2, W, H)`: transposed, which saves a pass over the data."""
        n, height, width = planes.shape
        values = self.over_rows(planes[:, None])
        values = values.permute(0, 2, 4, 3, 1).reshape(n, 2, width, height)
        values = self.over_columns(values).permute(0, 2, 3, 1, 4)
        spectra: Tensor = values.reshape(n, 2, width, height)
        return spectra


class ModulusOfInverseDFT(nn.Module):
    """The modulus of the signals that belong to spectra, sampled as sparsely as is asked for.

    The sides of a spectrum are multiples of those of the signal.
    """

    def __init__(self, n_rows: int, n_columns: int, height: int, width: int) -> None:
        super().__init__()
        self.over_rows = AxisDFT(n_rows, height, sign=1)
        self.over_columns = AxisDFT(n_columns, width, sign=1)
        self.height, self.width = height, width

    def forward(self, spectra: Tensor) -> Tensor:
        """`(n, 2, n_columns, n_rows)` to `(n, H, W)`."""
        n, _, _, n_rows = spectra.shape
        values = self.over_columns(spectra)
        values = values.permute(0, 2, 4, 3, 1).reshape(n, 2, n_rows, self.width)
        values = self.over_rows(values)
        squares = values.square()
        modulus: Tensor = (squares[:, :, 0] + squares[:, :, 1]).sqrt()
        return modulus.permute(0, 2, 1, 3).reshape(n, self.height, self.width)


def _as_real(turns: NDArray[np.float64], sign: int) -> NDArray[np.float64]:
    """`(r, ..., n)` turns of a complex factor to the `(r, 2, 2, ..., n)` real ones: out, in."""
    cosine, sine = np.cos(2 * math.pi * turns), sign * np.sin(2 * math.pi * turns)
    real = np.array([[cosine, -sine], [sine, cosine]])  # (2 out, 2 in, r, ...)
    return np.moveaxis(real, 2, 0)


def _divisor_near_root(n: int) -> int:
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    return min(divisors, key=lambda d: d + n // d)
