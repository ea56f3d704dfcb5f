"""The scattering transform in real arithmetic, as exported graphs need it."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from fre_lightning.backbones.morlet import morlet_spectrum, zero_negligible
from fre_lightning.backbones.scattering import _LUMINANCE, _OPPONENTS, Scattering
from fre_lightning.export.dft import ModulusOfInverseDFT, PlaneDFT

_NEGLIGIBLE = 1e-6
"""Filters count as zero where they are below this share of their bank's highest value."""


class RealScattering(nn.Module):
    """What a `Scattering` backbone computes, by matrix products instead of Fourier operators.

    The number of images is free, no operation depends on their content, and all is done at once:
    what the backbone does to save time would bind a graph to one number of images.
    """

    def __init__(self, backbone: Scattering) -> None:
        """Build the matrices from the definition; padding and averages are the backbone's own."""
        super().__init__()
        self.image_size = backbone.image_size
        self.n_scales, n_orientations = backbone.n_scales, backbone.n_orientations
        self.colour = backbone.colour
        for axis in (0, 1):
            self._take(backbone, f"reflection_{axis}")
            for j in range(self.n_scales):
                self._take(backbone, f"low_pass_{axis}_{j}")
        height, width = (len(self.get_buffer(f"reflection_{axis}")) for axis in (0, 1))
        self.banks, self.transforms = nn.ModuleDict(), nn.ModuleList()
        for j in range(self.n_scales):
            for source in range(max(j, 1)):
                bank = _Bank((height, width), n_orientations, source, j)
                self.banks[f"{source}_{j}"] = bank
            self.transforms.append(PlaneDFT(height >> j, width >> j))

    def _take(self, backbone: Scattering, name: str) -> None:
        self.register_buffer(name, backbone.get_buffer(name).cpu().clone(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps `(N, C, h, w)` of `(N, 3, H, W)` uint8 images; see `Scattering`."""
        red, green, blue = (images.float() / 255).unbind(dim=1)
        luminance, *opponents = (
            r * red + g * green + b * blue for r, g, b in (_LUMINANCE, *_OPPONENTS)
        )
        maps = [self._scatter(luminance, order=2)]
        if self.colour:
            maps += [self._scatter(opponent, order=1) for opponent in opponents]
        return torch.cat(maps, dim=1)

    def _scatter(self, planes: Tensor, order: int) -> Tensor:
        planes = planes.index_select(1, self.get_buffer("reflection_0"))
        planes = planes.index_select(2, self.get_buffer("reflection_1"))
        spectra = self.transforms[0](planes)
        first, second = [self._average(planes[:, None], 0)], []
        for j in range(self.n_scales):
            modulus = self.banks[f"0_{j}"](spectra)
            first.append(self._average(modulus, j))
            if order == 2 and j < self.n_scales - 1:
                second += self._second_order(modulus, j)
        return torch.cat(first + second, dim=1)

    def _second_order(self, modulus: Tensor, j1: int) -> list[Tensor]:
        spectra = self.transforms[j1](modulus.flatten(0, 1))
        maps = []
        for j2 in range(j1 + 1, self.n_scales):
            averages = self._average(self.banks[f"{j1}_{j2}"](spectra), j2)
            n_channels = modulus.shape[1] * averages.shape[1]
            maps.append(averages.reshape(-1, n_channels, *averages.shape[2:]))
        return maps

    def _average(self, planes: Tensor, j: int) -> Tensor:
        rows, columns = self.get_buffer(f"low_pass_0_{j}"), self.get_buffer(f"low_pass_1_{j}")
        return rows @ (planes @ columns.T)


class _Bank(nn.Module):
    """The wavelets of one scale in all orientations, and the modulus."""

    filters: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, sides: tuple[int, int], n_orientations: int, source: int, j: int) -> None:
        """Build the filters.

        Args:
            sides: `(H, W)` of the padded grid.
            n_orientations: L.
            source: Spectra belong to signals sampled every 2^source pixels.
            j: The scale; results are sampled every 2^j pixels.
        """
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
        self.n_orientations = n_orientations
        self.register_buffer("filters", filters.mT.float().contiguous()[:, None], persistent=False)
        self.modulus = ModulusOfInverseDFT(filters.shape[1], filters.shape[2], height, width)

    def forward(self, spectra: Tensor) -> Tensor:
        """`(n, 2, W_source, H_source)` spectra to `(n, L, H_j, W_j)` moduli."""
        rows_whole, columns_whole = self.is_whole
        spectra = spectra if columns_whole else spectra.index_select(2, self.columns)
        spectra = spectra if rows_whole else spectra.index_select(3, self.rows)
        products = (spectra[:, None] * self.filters).flatten(0, 1)
        modulus: Tensor = self.modulus(products)
        return modulus.view(-1, self.n_orientations, *modulus.shape[1:])


def _window(relevant: Tensor, step: int) -> slice:
    """The shortest run of places, a multiple of `step` long, that holds all relevant ones.

    A modulus does not depend on where the run starts: a shift of the spectrum is a phase.
    """
    places = np.flatnonzero(relevant.numpy())
    first, last = int(places[0]), int(places[-1])
    length = min(-(-(last + 1 - first) // step) * step, len(relevant))
    start = max(0, min(first, len(relevant) - length))
    return slice(start, start + length)
