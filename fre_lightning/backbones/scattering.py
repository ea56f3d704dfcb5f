"""A backbone without weights: the wavelet scattering transform of Bruna and Mallat (2013)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fre_lightning.backbones.base import Backbone
from fre_lightning.backbones.dft import PlaneDFT
from fre_lightning.backbones.morlet import MorletBank, centred_spectra, zero_negligible
from fre_lightning.backbones.real_morlet import RealMorletBank
from fre_lightning.errors import ConfigError

TRANSFORM = "morlet-scattering-v1"
"""Version of the features of `forward`; part of the cache key, to be changed with them."""

_LUMINANCE = (0.299, 0.587, 0.114)
# Opponent axes red-green and yellow-blue; powers of two, so that grey gives exactly zero.
_OPPONENTS = ((0.5, -0.5, 0.0), (0.25, 0.25, -0.5))

# Complex numbers per block. On a CPU they fit into its caches, and are few enough for glibc to keep
# the memory: with 2^19 it returns up to 20 MB per image to the system, to be zeroed again.
_CPU_BLOCK, _GPU_BLOCK = 3 * 2**17, 2**25


class Scattering(Backbone):
    """Scattering coefficients of orders 0, 1 and 2 of the luminance, 0 (or 0 and 1) of the colour.

    With J scales and L orientations the channels are, in this order: luminance order 0 (1), order 1
    (J L: scale, orientation), order 2 (J (J - 1) / 2 L^2: scale 1, scale 2 > scale 1,
    orientation 1, orientation 2); then order 0 (1), or 0 and 1 (1 + J L), of the red-green and of
    the yellow-blue opponent channel. The two colour averages are signed, all else is non-negative.
    Grey images have exact zeros in all colour channels, which then cost nothing.

    Order 1 of the colour sees what cameras and codecs change in any good image: Bayer filters guess
    the colour of two pixels in three, and JPEG keeps that of every fourth, coarsely.

    Images are reflected at their borders. Cells tile the image: H // 2^J rows, whatever H is.

    Args:
        name: Its name in tables and folders.
        image_size: One number, or `[H, W]`.
        n_scales: J; a cell of the grid is 2^J pixels wide.
        n_orientations: L.
        colour: Which colour channels there are: "averages", True (their order 1 as well), or False.
        pool: Cells that are averaged along each side.
        compression: See `ChannelStandardizer`; it is not applied here.
    """

    def __init__(
        self,
        name: str,
        image_size: int | Sequence[int],
        n_scales: int,
        n_orientations: int,
        colour: str | bool,
        pool: int,
        compression: str,
    ) -> None:
        super().__init__(name, "order2", pool, image_size, compression)
        _check(n_scales, n_orientations, colour, self.image_size)
        self.n_scales = n_scales
        self.n_orientations = n_orientations
        self.colour = colour
        self._sides = [_padded_side(side, 2**n_scales) for side in self.image_size]
        for axis, (side, padded) in enumerate(zip(self.image_size, self._sides, strict=True)):
            self._keep(f"reflection_{axis}", _reflection(side, padded))
            for j in range(n_scales):
                self._keep(f"low_pass_{axis}_{j}", _low_pass(side, padded, j, n_scales))
        self._real_spectra: nn.ModuleList | None = None
        self._make_banks(MorletBank)

    def _make_banks(self, kind: type[MorletBank | RealMorletBank]) -> None:
        self.banks = nn.ModuleDict()
        for j in range(self.n_scales):
            for source in range(max(j, 1)):
                bank = kind(self._sides, self.n_orientations, source, j)
                self.banks[f"{source}_{j}"] = bank

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    @property
    def weights_label(self) -> str:
        """The label of a backbone without weights."""
        return "none (scattering)"

    def fingerprint(self, layer: str) -> dict[str, object]:
        """Everything that changes the features; part of the cache key."""
        return super().fingerprint(layer) | {
            "n_scales": self.n_scales,
            "n_orientations": self.n_orientations,
            "colour": self.colour,
            "weights": TRANSFORM,
        }

    def prepare_export(self) -> None:
        """Compute by real matrix products, all planes and orientations at once."""
        height, width = self._sides
        self._real_spectra = nn.ModuleList(
            PlaneDFT(height >> j, width >> j) for j in range(self.n_scales)
        )
        self._make_banks(RealMorletBank)

    @torch.no_grad()
    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:  # noqa: ARG002
        """One map `(N, C, H // 2^J, W // 2^J)` float32; see the class for the channels."""
        parts = self._split(images, 0)
        return [torch.cat([self._scatter_colours(part) for part in parts])]

    def _split(self, planes: Tensor, j: int) -> Sequence[Tensor]:
        """Split planes, of images or spectra, into those that are filtered to scale j at a time."""
        if self._real_spectra:
            return [planes]
        return torch.split(planes, max(1, self._n_filtered(planes, j) // self.n_orientations))

    def _n_filtered(self, planes: Tensor, j: int) -> int:
        """Results of scale j that make up a block."""
        height, width = self._sides
        block = _CPU_BLOCK if planes.device.type == "cpu" else _GPU_BLOCK
        return block // ((height >> j) * (width >> j))

    def _groups(self, spectra: Tensor, j: int) -> list[slice]:
        """Groups of orientations, each filtered as one block of n spectra to scale j."""
        if self._real_spectra:
            return [slice(None)]
        step = max(1, self._n_filtered(spectra, j) // len(spectra))
        return [slice(k, k + step) for k in range(0, self.n_orientations, step)]

    def _scatter_colours(self, images: Tensor) -> Tensor:
        red, green, blue = (images.float() / 255).unbind(1)

        def mixed(axis: tuple[float, float, float]) -> Tensor:
            return axis[0] * red + axis[1] * green + axis[2] * blue

        maps = [self._scatter(mixed(_LUMINANCE), order=2)]
        is_grey = not self._real_spectra and bool((images[:, :1] == images[:, 1:]).all())
        order = 0 if self.colour == "averages" else 1
        for axis in _OPPONENTS if self.colour else ():
            if is_grey:
                n_channels = 1 + order * self.n_scales * self.n_orientations
                maps.append(torch.zeros_like(maps[0][:, :n_channels]))
            else:
                maps.append(self._scatter(mixed(axis), order))
        return torch.cat(maps, dim=1)

    def _scatter(self, planes: Tensor, order: int) -> Tensor:
        """Coefficients of `(n, H, W)` planes up to an order: `(n, C, h, w)`."""
        planes = planes.index_select(1, self.get_buffer("reflection_0"))
        planes = planes.index_select(2, self.get_buffer("reflection_1"))
        first, second = [self._average(planes[:, None], 0)], []
        if order == 0:
            return first[0]
        spectra = self._spectra(planes, 0)
        for j in range(self.n_scales):
            finer = []
            for group in self._groups(spectra, j):
                modulus = self.banks[f"0_{j}"](spectra, group)
                first.append(self._average(modulus, j))
                if order == 2 and j < self.n_scales - 1:
                    finer.append(self._spectra(modulus.flatten(0, 1), j))
            second += self._second_order(finer, j, planes.shape[0])
        return torch.cat(first + second, dim=1)

    def _spectra(self, planes: Tensor, j: int) -> Tensor:
        """Spectra of `(n, H_j, W_j)` planes, as the banks take them."""
        return self._real_spectra[j](planes) if self._real_spectra else centred_spectra(planes)

    def _second_order(self, finer: Sequence[Tensor], j1: int, n: int) -> list[Tensor]:
        """Coefficients of one scale 1 and each scale 2, from spectra of groups of orientations."""
        coefficients = []
        for j2 in range(j1 + 1, self.n_scales):
            bank = self.banks[f"{j1}_{j2}"]
            for spectra in finer:
                averages = []
                for part in self._split(spectra, j2):
                    groups = self._groups(part, j2)
                    each = [self._average(bank(part, group), j2) for group in groups]
                    averages.append(torch.cat(each, dim=1))
                averaged = torch.cat(averages)
                coefficients.append(averaged.reshape(n, -1, *averaged.shape[2:]))
        return coefficients

    def _average(self, planes: Tensor, j: int) -> Tensor:
        """Gaussian averages around the cells' centres: `(n, m, H_j, W_j)` to `(n, m, h, w)`."""
        rows, columns = self.get_buffer(f"low_pass_0_{j}"), self.get_buffer(f"low_pass_1_{j}")
        return rows @ (planes @ columns.T)


def _check(
    n_scales: int, n_orientations: int, colour: str | bool, image_size: tuple[int, int]
) -> None:
    if colour not in ("averages", True, False):
        msg = f"model.colour={colour} must be averages, true or false."
        raise ConfigError(msg)
    if n_scales < 1 or n_orientations < 1 or min(image_size) < 2**n_scales:
        msg = (
            f"n_scales={n_scales} and n_orientations={n_orientations} must be at least 1, and "
            f"both sides of image_size={list(image_size)} at least 2^n_scales = {2**n_scales}."
        )
        raise ConfigError(msg)


def _padded_side(side: int, cell: int) -> int:
    """The smallest multiple of `cell`, one cell longer at both ends, that suits an FFT."""
    n_cells = -(-side // cell) + 2
    while pow(2 * 3 * 5 * 7, n_cells, n_cells):  # a prime factor above 7
        n_cells += 1
    return n_cells * cell


def _reflection(side: int, padded: int) -> Tensor:
    """The source pixel of each padded pixel, `(padded,)` int64."""
    position = (torch.arange(padded) - (padded - side) // 2) % (2 * side - 2)
    return torch.minimum(position, 2 * side - 2 - position)


def _low_pass(side: int, padded: int, j: int, n_scales: int) -> Tensor:
    """Gaussian weights around each cell's centre, of samples of scale j: `(h, padded / 2^j)`."""
    n_cells = side >> n_scales
    centres = (torch.arange(n_cells, dtype=torch.float64) + 0.5) * (side / n_cells) - 0.5
    pixels = torch.arange(0, padded, 2**j, dtype=torch.float64) - (padded - side) // 2
    sigma = 0.8 * 2 ** (n_scales - 1)
    weights = torch.exp(-((pixels - centres[:, None]) / sigma).square() / 2)
    return zero_negligible(weights / weights.sum(dim=1, keepdim=True)).float()
