"""Banks of Morlet wavelets in real arithmetic, which exported graphs need."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fre_lightning.backbones.dft import ModulusOfInverseDFT
from fre_lightning.backbones.morlet import morlet_spectrum, zero_negligible

_NEGLIGIBLE = 1e-6
"""Filters count as zero where they are below this share of their bank's highest value."""


class RealMorletBank(nn.Module):
    """The same as `MorletBank`, for spectra from `PlaneDFT`.

    Args:
        sides: `(H, W)` of the padded grid.
        n_orientations: L.
        source: Spectra belong to signals sampled every 2^source pixels.
        j: The scale; results are sampled every 2^j pixels.
    """

    filters: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, sides: Sequence[int], n_orientations: int, source: int, j: int) -> None:
        super().__init__()
        height, width = (side >> j for side in sides)
        bins = [torch.arange(-(side >> source) // 2, (side >> source) // 2) for side in sides]
        y, x = (2 * math.pi / side * bin_.double() for bin_, side in zip(bins, sides, strict=True))
        filters = torch.stack(
            [morlet_spectrum(y, x, j, k, n_orientations) for k in range(n_orientations)]
        )
        relevant = filters.abs().amax(dim=0) > _NEGLIGIBLE * filters.abs().max()
        rows = _window(relevant.any(dim=1), height)
        columns = _window(relevant.any(dim=0), width)
        filters = zero_negligible(filters) * (4**source / math.prod(sides))
        for axis, (bin_, window) in enumerate(zip(bins, (rows, columns), strict=True)):
            index = bin_[window] % len(bin_)
            if len(index) == len(bin_):  # nothing is picked, if it has the spectrum's own order
                index = index.sort().values
            places = (index + len(bin_) // 2) % len(bin_)  # bins start at the lowest
            filters = filters.index_select(axis + 1, places)
            self.register_buffer(("rows", "columns")[axis], index, persistent=False)
        self.is_whole = [len(self.rows) == len(bins[0]), len(self.columns) == len(bins[1])]
        self.register_buffer("filters", filters.mT.float().contiguous()[:, None], persistent=False)
        self.modulus = ModulusOfInverseDFT(filters.shape[1], filters.shape[2], height, width)

    def forward(self, spectra: Tensor, orientations: slice) -> Tensor:
        """`(n, 2, W_source, H_source)` spectra to `(n, l, H_j, W_j)` moduli."""
        filters = self.filters[orientations]
        rows_whole, columns_whole = self.is_whole
        spectra = spectra if columns_whole else spectra.index_select(2, self.columns)
        spectra = spectra if rows_whole else spectra.index_select(3, self.rows)
        products = (spectra[:, None] * filters).flatten(0, 1)
        modulus: Tensor = self.modulus(products)
        return modulus.view(-1, len(filters), *modulus.shape[1:])


def _window(relevant: Tensor, step: int) -> slice:
    """The shortest run of places, a multiple of `step` long, that holds all relevant ones.

    A modulus does not depend on where the run starts: a shift of the spectrum is a phase.
    """
    places = np.flatnonzero(relevant.numpy())
    first, last = int(places[0]), int(places[-1])
    length = min(-(-(last + 1 - first) // step) * step, len(relevant))
    start = max(0, min(first, len(relevant) - length))
    return slice(start, start + length)
