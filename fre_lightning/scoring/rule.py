"""The scoring rule: from reconstruction errors to image scores and anomaly maps."""

from collections.abc import Sequence
from itertools import repeat

import torch
from torch import Tensor

from fre_lightning.errors import ConfigError
from fre_lightning.fitted import FittedBuffers
from fre_lightning.images.tiling import Tiling
from fre_lightning.scoring.expected import expected_error
from fre_lightning.scoring.fusion import finest, fuse, learn_shares

Weights = Sequence[Tensor] | None

STATISTICS = ("sum", "max", "top")
FUSIONS = ("mean", "max", "spread")

_LEAST = 1e-6  # divisors that are 0 where nothing counts


def error_map(error: Tensor, feature_shape: tuple[int, int, int]) -> Tensor:
    """Sum the squared reconstruction error over channels (FRE, Ndiour et al. 2023, eq. 3).

    Args:
        error: `(N, D)`, features minus their reconstruction.
        feature_shape: `(C, h, w)` with C * h * w = D.

    Returns:
        `(N, h, w)`, not negative.
    """
    return error.view(-1, *feature_shape).square().sum(dim=1)


class Scoring(FittedBuffers):
    """Image scores and anomaly maps from the error maps of one or several layers.

    Layers differ in scale, and some positions have larger errors than others in every image. So
    each layer's maps are divided by its expected error, learnt from held-out normal images:
    `level * profile`, where the profile is the smoothed mean map to the power of `position_norm`,
    and the level gives maps of normal images a mean of 1. Maps of several layers are then resized
    to the largest map's size and fused.

    Args:
        name: Its name in tables.
        statistic: The image score of a map: `sum`, `max`, or `top`, the mean of its highest cells.
            The sum dilutes small defects.
        top_fraction: The share of the cells that `top` averages, in (0, 1]. If only some cells
            count (`weigh`), it is the share of these, and a cell of weight 0.5 is half a cell.
        position_norm: Exponent of the expected error at each position, in [0, 1]: 0 leaves
            positions as they are, 1 makes all equal. None: maps of a single layer are not divided
            at all.
        fusion: How maps of several layers are fused: `mean`; `max`; or `spread`, the mean where
            each backbone's share is 1 / the standard deviation of its held-out image scores, for
            what varies among normal images tells defects less, and its layers share by the sides
            of their grids, for coarse cells tell less of where a defect is.
        weights: One for each layer; None: all are equal.
        smoothing: Standard deviation, in pixels, of a Gaussian that smooths anomaly maps; 0: none.

    Raises:
        ConfigError: If a setting is out of range.

    Attributes:
        expected: The expected errors of all layers, `(h, w)` each, flattened and concatenated,
            float32; empty before `fit`, or if maps are not divided.
        cells: The weights of the cells of all layers, laid out likewise; None if all count.
        finest_cells: `(h, w)`, those of the largest map; None if all count.
        shares: `(n_layers,)` of mean 1, learnt by `spread`; None if all are equal.
        owners: The number of each layer's backbone, to be set before `fit` if there are several.
    """

    expected: Tensor
    cells: Tensor
    finest_cells: Tensor | None
    shares: Tensor | None

    def __init__(
        self,
        name: str,
        statistic: str,
        top_fraction: float,
        position_norm: float | None,
        fusion: str,
        weights: Sequence[float] | None,
        smoothing: float,
    ) -> None:
        super().__init__()
        for key, word, known in (("statistic", statistic, STATISTICS), ("fusion", fusion, FUSIONS)):
            if word not in known:
                msg = f"scoring.{key}={word} is unknown; choose one of {', '.join(known)}."
                raise ConfigError(msg)
        if not 0 < top_fraction <= 1 or not 0 <= (position_norm or 0) <= 1 or smoothing < 0:
            msg = (
                f"scoring.top_fraction={top_fraction} must lie in (0, 1], "
                f"scoring.position_norm={position_norm} in [0, 1], and "
                f"scoring.smoothing={smoothing} not be negative."
            )
            raise ConfigError(msg)
        self.name = name
        self.statistic = statistic
        self.top_fraction = top_fraction
        self.position_norm = position_norm
        self.fusion = fusion
        self.weights = None if weights is None else tuple(weights)
        self.smoothing = smoothing
        self.owners: Sequence[int] = ()
        self._n_cells: float | None = None  # the sum of `finest_cells`
        self.add_buffers("expected")
        self.add_optional_buffers("cells", "finest_cells", "shares")

    def weigh(self, weights: Sequence[Tensor]) -> None:
        """Let parts of the maps count.

        Args:
            weights: `(h, w)` of each layer from 0 to 1, by which its error maps are multiplied.
        """
        self.cells = torch.cat([layer.flatten() for layer in weights])
        self.finest_cells = finest(weights)
        self._n_cells = float(self.finest_cells.sum())

    def fit(
        self,
        held_out_maps: Sequence[Tensor],
        prior: Tensor | None = None,
        weights: Weights = None,
    ) -> None:
        """Learn the expected errors.

        Args:
            held_out_maps: Held-out error maps of normal images, `(N, h, w)` of each layer.
            prior: The `expected` of an earlier fit. Few images tell the level of each layer, but
                its profile only roughly: then it is mostly that of the earlier fit.
            weights: As in `normalize`.

        Raises:
            ConfigError: If the numbers of weights and layers differ.
        """
        if self.weights is not None and len(self.weights) != len(held_out_maps):
            msg = f"scoring.weights must be {len(held_out_maps)} numbers, one for each layer."
            raise ConfigError(msg)
        if self.position_norm is None and len(held_out_maps) == 1:
            return
        sizes = [maps[0].numel() for maps in held_out_maps]
        priors = [None] * len(sizes) if prior is None else torch.split(prior, sizes)
        expected = [
            expected_error(maps, self.position_norm or 0.0, earlier, weight).flatten()
            for maps, earlier, weight in zip(
                held_out_maps,
                priors,
                weights or self.weights_of(held_out_maps) or repeat(None, len(sizes)),
                strict=True,
            )
        ]
        self.expected = torch.cat(expected).to(self.expected.device)
        owners = self.owners or [0] * len(sizes)
        is_even = len(set(zip(owners, sizes, strict=True))) == 1
        if self.fusion == "spread" and prior is None and not is_even:
            maps = self._divide([m.to(self.expected.device) for m in held_out_maps])
            cells = None if weights is None else finest(weights)
            self.shares = learn_shares(
                maps,
                owners,
                weights or self.weights_of(maps),
                lambda fused: self.image_score(fused, cells),
            )

    def normalize(self, error_maps: Sequence[Tensor], weights: Weights = None) -> Tensor:
        """Divide error maps by the expected errors, and fuse the layers.

        Args:
            error_maps: `(N, h, w)` of each layer.
            weights: `(N, h, w)` of each layer, by which its error maps are multiplied; None: those
                of `weigh`, if there are any.

        Returns:
            `(N, h, w)`, of the largest map's size.
        """
        maps = self._divide(error_maps)
        if len(maps) == 1:
            return maps[0]
        shares = maps[0].new_tensor(self.weights or [1.0] * len(maps))
        if self.shares is not None:
            shares = shares * self.shares
        if self.fusion != "max":
            shares = shares / shares.sum()
        return fuse(maps, shares, self.fusion, weights or self.weights_of(maps))

    def _divide(self, error_maps: Sequence[Tensor]) -> list[Tensor]:
        """Error maps `(N, h, w)` of each layer, divided by the expected errors."""
        if not len(self.expected):
            return list(error_maps)
        expected = torch.split(self.expected, [m[0].numel() for m in error_maps])
        return [m / e.view(m.shape[1:]) for m, e in zip(error_maps, expected, strict=True)]

    def image_score(self, normalized_maps: Tensor, weights: Tensor | None = None) -> Tensor:
        """Image scores.

        Args:
            normalized_maps: `(N, h, w)`.
            weights: `(N, h, w)`, the weights of their cells, which differ between the images; None:
                those of `weigh`, if there are any.

        Returns:
            `(N,)`. Where weights differ, sums are scaled to the number of cells that count in all.
        """
        cells = normalized_maps.flatten(1)
        n_cells = cells.shape[1] if self._n_cells is None else self._n_cells
        if weights is not None:
            return self._score_each(cells, weights.flatten(1).sum(dim=1), n_cells)
        if self.statistic == "sum":
            return cells.sum(dim=1)
        n_top = max(1, round(self.top_fraction * n_cells)) if self.statistic == "top" else 1
        return cells.topk(n_top, dim=1).values.mean(dim=1)

    def _score_each(self, cells: Tensor, counts: Tensor, n_cells: float) -> Tensor:
        """Scores of cells `(N, h * w)`, of which `(N,)` count."""
        if self.statistic == "sum":
            return cells.sum(dim=1) * n_cells / counts.clamp(min=_LEAST)
        fraction = self.top_fraction if self.statistic == "top" else 0.0
        n_top = (fraction * counts).round().long().clamp(min=1)
        sums = cells.sort(dim=1, descending=True).values.cumsum(dim=1)
        return sums.gather(1, n_top[:, None] - 1)[:, 0] / n_top

    def weights_of(self, maps: Sequence[Tensor]) -> list[Tensor] | None:
        """The weights `(1, h, w)` of the layers of maps `(N, h, w)`; None if all cells count."""
        if self._n_cells is None:
            return None
        parts = torch.split(self.cells, [m[0].numel() for m in maps])
        return [part.view(1, *m.shape[1:]) for part, m in zip(parts, maps, strict=True)]

    def anomaly_map(
        self,
        normalized_maps: Tensor,
        tile_size: tuple[int, int],
        tiling: Tiling,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Anomaly maps `(N, H, W)`.

        Args:
            normalized_maps: `(N, h, w)`, the maps of an image's tiles side by side.
            tile_size: `(H, W)` of a tile in pixels; of the image if it is not tiled.
            tiling: The arrangement of the tiles.
            weights: As in `image_score`.
        """
        if weights is None and self.finest_cells is not None:
            weights = self.finest_cells[None]
        maps = self._enlarge(normalized_maps, tile_size, tiling)
        if weights is None:
            return maps
        # Cells that do not count must not lower what lies beside them.
        reach = self._enlarge((weights > 0).to(maps), tile_size, tiling)
        return maps / reach.clamp(min=_LEAST)

    def _enlarge(self, maps: Tensor, tile_size: tuple[int, int], tiling: Tiling) -> Tensor:
        maps = tiling.blend(maps, tile_size)
        if self.smoothing == 0:
            return maps
        # Takes as long to import as torch, and is seldom needed.
        from torchvision.transforms.functional import gaussian_blur

        reach = min(round(4 * self.smoothing), min(maps.shape[1:]) - 1)
        blurred: Tensor = gaussian_blur(maps[:, None], [2 * reach + 1] * 2, [self.smoothing] * 2)
        return blurred[:, 0]

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.finest_cells is not None:
            self._n_cells = float(self.finest_cells.sum())
