"""The wavelet scattering transform of Bruna and Mallat (2013), of planes of one size."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fre_lightning.backbones.dft import PlaneDFT
from fre_lightning.backbones.morlet import MorletBank, centred_spectra, zero_negligible
from fre_lightning.backbones.real_morlet import RealMorletBank

# Complex numbers per block. On a CPU they fit into its caches, and are few enough for glibc to keep
# the memory: with 2^19 it returns up to 20 MB per image to the system, to be zeroed again.
_CPU_BLOCK, _GPU_BLOCK = 3 * 2**17, 2**25


class ScatteringTransform(nn.Module):
    """Scattering coefficients of orders 0, 1 and 2, averaged over cells.

    Planes are reflected at their borders. Cells tile them: H // 2^J rows, whatever H is.

    Args:
        image_size: `(H, W)`, both at least 2^J.
        n_scales: J; a cell of the grid is 2^J pixels wide.
        n_orientations: L.
    """

    def __init__(self, image_size: tuple[int, int], n_scales: int, n_orientations: int) -> None:
        super().__init__()
        self.n_scales = n_scales
        self.n_orientations = n_orientations
        self._sides = [_padded_side(side, 2**n_scales) for side in image_size]
        for axis, (side, padded) in enumerate(zip(image_size, self._sides, strict=True)):
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

    def prepare_export(self) -> None:
        """Compute by real matrix products, all planes and orientations at once."""
        height, width = self._sides
        self._real_spectra = nn.ModuleList(
            PlaneDFT(height >> j, width >> j) for j in range(self.n_scales)
        )
        self._make_banks(RealMorletBank)

    @property
    def is_exported(self) -> bool:
        """Whether `prepare_export` was called."""
        return self._real_spectra is not None

    def forward(self, planes: Tensor, order: int, first_scale: int = 0) -> Tensor:
        """Coefficients of `(n, H, W)` planes up to an order: `(n, C, H // 2^J, W // 2^J)`.

        Finer scales than `first_scale` are left out.

        The channels are, in this order: order 0 (1), order 1 (J L: scale, orientation), order 2
        (J (J - 1) / 2 L^2: scale 1, scale 2 > scale 1, orientation 1, orientation 2).
        """
        planes = planes.index_select(1, self.get_buffer("reflection_0"))
        planes = planes.index_select(2, self.get_buffer("reflection_1"))
        first, second = [self._average(planes[:, None], 0)], []
        if order == 0:
            return first[0]
        spectra = self._spectra(planes, 0)
        for j in range(first_scale, self.n_scales):
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
                for part in self.split(spectra, j2):
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

    def split(self, planes: Tensor, j: int = 0) -> Sequence[Tensor]:
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
