"""The Lanczos resize of training images as matrix products, so that graphs can resize images."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fre_lightning.images.resizing import PREPROCESSING

_LOBES = 3
_BITS, _SHORT_LIMIT = 22, 2**15
_UNIT, _BASE = 2.0**_BITS, 2.0**11
"""Pillow's weights are multiples of 1 / 2^22; they are split into two digits of base 2^11."""


class LanczosResize(nn.Module):
    """Resize `(N, H, W, 3)` uint8 images to `(N, 3, h, w)` uint8, as `resizing.resize` does.

    Filters are widened by the ratio when an image shrinks, weights are normalised within the
    image and rounded, and levels are rounded after each of the two passes. Every detail matters:
    on JPEGs the passes in the wrong order change scores by up to 2 %, weights in too many bits by
    1e-3, sums in float32 by 1e-4. Therefore sums are exact: weights are whole numbers of two
    digits, each small enough for float32 to add without rounding.

    With a fixed input size the weights are constants of the graph, else the graph computes them.

    Args:
        image_size: `(h, w)`.
        input_size: `(H, W)` of all images; None: any size.
    """

    def __init__(self, image_size: tuple[int, int], input_size: tuple[int, int] | None) -> None:
        super().__init__()
        self.image_size = image_size
        self.input_size = input_size
        self.uses_torch = PREPROCESSING.startswith("torch")
        self.reverses = pillow_reverses()
        if input_size is not None:
            by_torch, columns_first = self._order(*map(torch.tensor, input_size))
            self.columns_first = bool(columns_first)
            rows, columns = self._digits(input_size, by_torch)
            self.register_buffer("rows", rows, persistent=False)
            self.register_buffer("columns", columns, persistent=False)

    def _order(self, n_rows: Tensor, n_columns: Tensor) -> tuple[Tensor, Tensor]:
        """Whether torch resizes images of a size, and whether columns are filtered first."""
        height, width = self.image_size
        by_torch = (n_columns * height >= n_rows * width) & self.uses_torch
        is_tall = (n_rows > height) & (2 * (n_columns - width) < n_rows - height)
        return by_torch, is_tall & ~by_torch & self.reverses

    def _digits(self, input_size: Sequence[int], by_torch: Tensor) -> list[Tensor]:
        """The weights for both sides, `(2, n_out, n_in)` each."""
        weights = []
        for n_in, n_out in zip(input_size, self.image_size, strict=True):
            exact = _lanczos_weights(n_in, n_out)
            weights.append(torch.where(by_torch, _round_to_16_bits(exact), _round_to(exact, _UNIT)))
        return [_split(weight) for weight in weights]

    def forward(self, images: Tensor) -> Tensor:
        """Resize."""
        levels = images.permute(0, 3, 1, 2).float()
        if self.input_size is not None:
            rows, columns = self.get_buffer("rows"), self.get_buffer("columns")
            in_order = _columns_then_rows if self.columns_first else _rows_then_columns
            return in_order(levels, rows, columns).to(torch.uint8)
        by_torch, columns_first = self._order(_length(levels, 2), _length(levels, 3))
        rows, columns = self._digits(levels.shape[2:], by_torch)
        resized = _rows_then_columns(levels, rows, columns)
        if self.reverses:  # both orders, because not every format has an `if`
            reversed_ = _columns_then_rows(levels, rows, columns)
            resized = torch.where(columns_first, reversed_, resized)
        return resized.to(torch.uint8)


@functools.cache
def pillow_reverses() -> bool:
    """Whether this Pillow filters tall images' columns first, as recent ones do."""
    levels = np.random.default_rng(0).integers(0, 256, (96, 16), dtype=np.uint8)
    resized = Image.fromarray(levels).resize((24, 16), Image.Resampling.LANCZOS)
    rows, columns = (_split(_round_to(_lanczos_weights(*n), _UNIT)) for n in ((96, 16), (16, 24)))
    expected = _columns_then_rows(torch.from_numpy(levels)[None, None].float(), rows, columns)
    return bool((expected[0, 0].numpy() == np.asarray(resized)).all())


def _lanczos_weights(n_in: int, n_out: int) -> Tensor:
    """Weights of each output's inputs along one side, `(n_out, n_in)` float64."""
    inputs, outputs = torch.arange(n_in), torch.arange(n_out)
    # Between centres, in units of 1 / (2 n_in n_out) of the side: whole numbers.
    distance = (2 * inputs + 1) * n_out - (2 * outputs[:, None] + 1) * n_in
    scale = 2 * (inputs[-1:] + 1).clamp(min=n_out)
    x = distance.double() / scale.double()
    weights = torch.where(x.abs() < _LOBES, _sinc(x) * _sinc(x / _LOBES), 0.0)
    return weights / weights.sum(dim=1, keepdim=True)


def _rows_then_columns(levels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Filter `(N, 3, H, W)` levels along rows, then along columns."""
    across = _round(levels @ columns[0].mT, levels @ columns[1].mT)
    return _round(rows[0] @ across, rows[1] @ across)


def _columns_then_rows(levels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Filter `(N, 3, H, W)` levels along columns, then along rows."""
    down = _round(rows[0] @ levels, rows[1] @ levels)
    return _round(down @ columns[0].mT, down @ columns[1].mT)


def _round_to(weights: Tensor, unit: float | Tensor) -> Tensor:
    """Round to multiples of 1 / unit, half away from zero; in units of 1 / 2^22."""
    magnitude = (weights.abs() * unit + 0.5).floor() * (_UNIT / unit)
    return torch.where(weights < 0, -magnitude, magnitude)


def _round_to_16_bits(weights: Tensor) -> Tensor:
    """Round to the bits that are left if the largest weight fits into 16, as torch does."""
    units = 2.0 ** torch.arange(1, _BITS + 1).double()
    fits = (weights.max() * units + 0.5).floor() < _SHORT_LIMIT
    return _round_to(weights, torch.where(fits, units, 1.0).max())


def _split(weights: Tensor) -> Tensor:
    """Whole numbers as two digits of base 2^11, `(2, n_out, n_in)` float32."""
    high = (weights / _BASE).round()
    return torch.stack([high, weights - _BASE * high]).float()


def _round(high: Tensor, low: Tensor) -> Tensor:
    """The levels nearest to sums, which are given as two digits and never rounded before."""
    high = high + _BASE / 2
    whole = (high / _BASE).floor()
    rest = (high - _BASE * whole) * _BASE + low
    return (whole + (rest / _UNIT).floor()).clamp(0, 255)


def _length(levels: Tensor, dim: int) -> Tensor:
    """The length of a side as a `(1,)` tensor."""
    return torch.arange(levels.shape[dim])[-1:] + 1


def _sinc(x: Tensor) -> Tensor:
    # As a plain number, some formats would round it to float32.
    angle = torch.tensor([math.pi], dtype=x.dtype) * x
    return torch.where(x == 0, 1.0, angle.sin() / torch.where(x == 0, 1.0, angle))
