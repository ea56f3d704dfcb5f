"""The Lanczos resize of training images as matrix products, so that graphs can resize images."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fre_lightning.images.resizing import PREPROCESSING

_LOBES = 3
_STEPS = 2**10  # from one entry of the table of the kernel to the next
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
            unit = torch.where(by_torch, _unit_of_16_bits(exact), _UNIT)
            weights.append(_digits_of(exact, unit))
        return weights

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
    rows, columns = (_digits_of(_lanczos_weights(*n), _UNIT) for n in ((96, 16), (16, 24)))
    expected = _columns_then_rows(torch.from_numpy(levels)[None, None].float(), rows, columns)
    return bool((expected[0, 0].numpy() == np.asarray(resized)).all())


def _lanczos_weights(n_in: int, n_out: int) -> tuple[Tensor, Tensor]:
    """Weights of each output's inputs along one side, as a multiple of 1 / 2^11 and the rest.

    To about 1e-10 without float64, which OpenVINO lacks on CPUs: whole numbers are exact, and only
    small ones are rounded to float32.

    Returns:
        `(n_out, n_in)` float32 each, their sum is the weight.
    """
    inputs, outputs = torch.arange(n_in), torch.arange(n_out)
    # Between centres, in units of 1 / (2 n_in n_out) of the side: whole numbers.
    distance = ((2 * inputs + 1) * n_out - (2 * outputs[:, None] + 1) * n_in).abs()
    scale = 2 * (inputs[-1:] + 1).clamp(min=n_out)
    is_near = distance < _LOBES * scale
    distance = torch.where(is_near, _STEPS * distance, 0)
    step = (distance.float() / scale.float()).round().long()
    x = (distance - step * scale).float() / scale.float()
    high, low, *slopes = (torch.where(is_near, row[step], 0.0) for row in _KERNEL)
    low = low + x * (slopes[0] + x * (slopes[1] + x * slopes[2]))
    return _normalize(high, low)


def _normalize(high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """Divide sums of a multiple of 1 / 2^14 and a rest by their total along a row."""
    total_high, total_low = (part.sum(dim=1, keepdim=True) for part in (high, low))
    total = total_high + total_low
    quotient = (high / total * _BASE).round() / _BASE
    # Long division: both products have few enough digits to be exact.
    coarse = (total_high * 64).round() / 64
    rest = (high - quotient * coarse) - quotient * (total_high - coarse)
    return quotient, (rest + (low - quotient * total_low)) / total


def _tabulate_kernel() -> Tensor:
    """The Lanczos kernel around each step, `(5, n)` float32.

    A multiple of 1 / 2^14 and a rest, whose sum is the value; then the coefficients of x, x^2 and
    x^3, where x is the distance from it in steps, up to a half.
    """
    nodes = torch.linspace(-0.5, 0.5, 4).double()
    x = (torch.arange(_LOBES * _STEPS + 1) + nodes[:, None]) / _STEPS
    values = torch.sinc(x) * torch.sinc(x / _LOBES)
    coefficients = torch.linalg.solve(torch.linalg.vander(nodes), values)
    high = (coefficients[0] * 2**14).round() / 2**14
    return torch.stack([high, coefficients[0] - high, *coefficients[1:]]).float()


_KERNEL = _tabulate_kernel()


def _rows_then_columns(levels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Filter `(N, 3, H, W)` levels along rows, then along columns."""
    across = _round(levels @ columns[0].mT, levels @ columns[1].mT)
    return _round(rows[0] @ across, rows[1] @ across)


def _columns_then_rows(levels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Filter `(N, 3, H, W)` levels along columns, then along rows."""
    down = _round(rows[0] @ levels, rows[1] @ levels)
    return _round(down @ columns[0].mT, down @ columns[1].mT)


def _digits_of(weights: tuple[Tensor, Tensor], unit: float | Tensor) -> Tensor:
    """Weights in whole units of at least 1 / 2^22, as two digits of base 2^11, in these units."""
    high, rest = weights
    return torch.stack([_BASE * high, (rest * unit).round() * (_UNIT / unit)])


def _unit_of_16_bits(weights: tuple[Tensor, Tensor]) -> Tensor:
    """1 / unit of the bits that are left if the largest weight fits into 16, as torch has it."""
    units = 2.0 ** torch.arange(1, _BITS + 1)
    fits = (torch.add(*weights).max() * units + 0.5).floor() < _SHORT_LIMIT
    return torch.where(fits, units, 1.0).max()


def _round(high: Tensor, low: Tensor) -> Tensor:
    """The levels nearest to sums, which are given as two digits and never rounded before."""
    high = high + _BASE / 2
    whole = (high / _BASE).floor()
    rest = (high - _BASE * whole) * _BASE + low
    return (whole + (rest / _UNIT).floor()).clamp(0, 255)


def _length(levels: Tensor, dim: int) -> Tensor:
    """The length of a side as a `(1,)` tensor."""
    return torch.arange(levels.shape[dim])[-1:] + 1
