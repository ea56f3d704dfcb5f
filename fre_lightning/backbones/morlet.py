"""Banks of Morlet wavelets: they filter spectra and return the modulus at a lower resolution.

A signal filtered at scale j is sampled every 2^j pixels. Sampling in space is folding in frequency,
so the product of spectrum and filter is folded before the inverse FFT, which becomes 4^j times
smaller. Frequencies at which all filters of the bank are zero are never computed.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# A Morlet wavelet is the difference of two Gaussians. Beyond this many standard deviations each
# counts as zero; the second one, which removes the mean, has a sixth of the first one's height.
WAVE_REACH, ENVELOPE_REACH = 4.0, 3.5

# Tails of Gaussians below this fraction of the peak are set to zero. Their effect is negligible,
# but products with them are subnormal, which takes many processors a hundred times as long.
_NEGLIGIBLE = 1e-15


class MorletBank(nn.Module):
    """The Morlet wavelets of one scale in all orientations, for spectra of one resolution.

    Args:
        sides: `(H, W)` of the grid at full resolution.
        n_orientations: L.
        source: The input signals are sampled every 2^source pixels.
        j: The scale; the result is sampled every 2^j pixels.
    """

    def __init__(self, sides: Sequence[int], n_orientations: int, source: int, j: int) -> None:
        super().__init__()
        self.sides = [side >> j for side in sides]
        reach = _reach(j, n_orientations)
        bins = [_bins(side, source, j, *reach[axis]) for axis, side in enumerate(sides)]
        y, x = (2 * math.pi / side * bin_ for bin_, side in zip(bins, sides, strict=True))
        filters = torch.stack(
            [morlet_spectrum(y, x, j, k, n_orientations) for k in range(n_orientations)]
        )
        # The inverse FFT below does not divide by the number of samples. Each number is stored
        # twice, for real and imaginary part: complex times real is slow in torch.
        scale = 4**source / math.prod(sides)
        filters = zero_negligible(scale * filters).float()
        aliases = self._split(filters.repeat_interleave(2, dim=2))
        self.register_buffer("aliases", aliases.contiguous(), persistent=False)
        middles = [(side >> source) // 2 for side in sides]
        self._window = tuple(
            slice(middle + int(bin_[0]), middle + int(bin_[-1]) + 1)
            for middle, bin_ in zip(middles, bins, strict=True)
        )

    def forward(self, spectra: Tensor, orientations: slice) -> Tensor:
        """Filter and take the modulus.

        Args:
            spectra: `(n, H / 2^source, W / 2^source)` complex, from `centred_spectra`.
            orientations: The l wavelets to use.

        Returns:
            `(n, l, H / 2^j, W / 2^j)` real.
        """
        rows, columns = self._window
        spectra = spectra[:, rows, columns]
        parts = self._split(torch.view_as_real(spectra).flatten(2))[:, :, None]
        aliases = self.get_buffer("aliases")[:, orientations]
        folded = parts[0] * aliases[0]
        for part, alias in zip(parts[1:], aliases[1:], strict=True):
            folded.addcmul_(part, alias)
        # The first frequency does not matter: a shift of the spectrum leaves the modulus unchanged.
        folded = torch.view_as_complex(folded.view(*folded.shape[:3], -1, 2))
        squares = torch.view_as_real(torch.fft.ifft2(folded, norm="forward")).square_()
        # Faster than abs(), which guards against an overflow that cannot happen here.
        return torch.add(squares[..., 0], squares[..., 1]).sqrt_()

    def _split(self, planes: Tensor) -> Tensor:
        """Split `(n, a H_j, 2 b W_j)` into the a * b parts to be folded, `(a b, n, H_j, 2 W_j)`."""
        height, width = self.sides
        n, n_rows, n_columns = planes.shape
        parts = planes.view(n, n_rows // height, height, n_columns // (2 * width), 2 * width)
        return parts.permute(1, 3, 0, 2, 4).flatten(0, 1)


def zero_negligible(values: Tensor) -> Tensor:
    """Set values below 1e-15 of the largest magnitude to zero."""
    return torch.where(values.abs() < _NEGLIGIBLE * values.abs().max(), 0.0, values)


def centred_spectra(planes: Tensor) -> Tensor:
    """Spectra of real planes, zero frequency in the middle: half is computed, half is mirrored.

    Args:
        planes: `(..., H, W)` real, both sides even.

    Returns:
        `(..., H, W)` complex.
    """
    height, width = (side // 2 for side in planes.shape[-2:])
    half = torch.fft.rfft2(planes)
    spectra: Tensor = half.new_empty(planes.shape)
    spectra[..., height:, width:] = half[..., :height, :-1]
    spectra[..., :height, width:] = half[..., height:, :-1]
    # The spectrum of a real plane at -f is the conjugate of that at f.
    mirrored = half[..., 1:].flip(-2, -1).conj()
    spectra[..., : height + 1, :width] = mirrored[..., height - 1 :, :]
    spectra[..., height + 1 :, :width] = mirrored[..., : height - 1, :]
    return spectra


def morlet_spectrum(y: Tensor, x: Tensor, j: int, k: int, n_orientations: int) -> Tensor:
    """The real Fourier transform of a Morlet wavelet sampled at whole pixels.

    Args:
        y: `(h,)` float64, vertical frequencies in radians per pixel.
        x: `(w,)` float64, horizontal frequencies.
        j: The scale: xi = 3 pi / 4 / 2^j and sigma = 0.8 * 2^j.
        k: The orientation, 0 to L - 1.
        n_orientations: L; the slant is 4 / L.

    Returns:
        `(h, w)` float64.
    """
    angle, slant = _angle(k, n_orientations), 4 / n_orientations
    sigma, xi = 0.8 * 2**j, 0.75 * math.pi / 2**j
    n_turns = math.ceil(slant)

    def gauss(y: Tensor, x: Tensor, shift: float) -> Tensor:
        total = y.new_zeros(len(y), len(x))
        # Sampling in space repeats the spectrum every 2 pi.
        for turn_y in range(-n_turns, n_turns + 1):
            for turn_x in range(-n_turns, n_turns + 1):
                v, u = (y + 2 * math.pi * turn_y)[:, None], x + 2 * math.pi * turn_x
                along = v * math.cos(angle) + u * math.sin(angle) - shift
                across = (u * math.cos(angle) - v * math.sin(angle)) / slant
                total += ((along.square() + across.square()) * (-(sigma**2) / 2)).exp_()
        return total

    zero = y.new_zeros(1)
    ratio = gauss(zero, zero, xi) / gauss(zero, zero, 0.0)
    return gauss(y, x, xi) - ratio * gauss(y, x, 0.0)


def _angle(k: int, n_orientations: int) -> float:
    return ((n_orientations - 1) // 2 - k) * math.pi / n_orientations


def _reach(j: int, n_orientations: int) -> list[tuple[float, float]]:
    """Lowest and highest frequency of the bank's filters, vertically and horizontally."""
    ends: list[list[float]] = [[], []]
    for k in range(n_orientations):
        angle, slant = _angle(k, n_orientations), 4 / n_orientations
        cosine, sine = math.cos(angle), math.sin(angle)
        for axis, (part, other) in enumerate(((cosine, sine), (sine, cosine))):
            deviation = math.hypot(part, other * slant) / (0.8 * 2**j)
            centre = 0.75 * math.pi / 2**j * part
            ends[axis] += [centre - WAVE_REACH * deviation, centre + WAVE_REACH * deviation]
            ends[axis] += [-ENVELOPE_REACH * deviation, ENVELOPE_REACH * deviation]
    return [(min(axis), max(axis)) for axis in ends]


def _bins(side: int, source: int, j: int, lowest: float, highest: float) -> Tensor:
    """The frequencies of a bank's filters, as multiples of 2 pi / side, ascending.

    Their number is a multiple of `side / 2^j`, at most all frequencies of the source.
    """
    n_available, n_folded = side >> source, side >> j
    n_parts = math.ceil((highest - lowest) / (2 * math.pi) * 2**j)
    if n_parts * n_folded >= n_available:
        return torch.arange(n_available) - n_available // 2
    middle = (lowest + highest) / 2 * side / (2 * math.pi)
    first = round(middle - n_parts * n_folded / 2)
    return torch.arange(first, first + n_parts * n_folded)
