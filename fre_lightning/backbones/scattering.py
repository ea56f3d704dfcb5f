"""A backbone without weights: the wavelet scattering transform of Bruna and Mallat (2013)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fre_lightning.backbones.base import Backbone, pool_features
from fre_lightning.backbones.scattering_transform import ScatteringTransform
from fre_lightning.errors import ConfigError

TRANSFORM = "morlet-scattering-v1"
"""Version of the features of `forward`; part of the cache key, to be changed with them."""

_LAYERS = {"order2": 1, "order2_half": 2}
"""Layers, and by how much images are reduced before the transform."""

_COARSE = 2
"""Scales of colour that codecs leave as they are."""

_LUMINANCE = (0.299, 0.587, 0.114)
# Opponent axes red-green and yellow-blue; powers of two, so that grey gives exactly zero.
_OPPONENTS = ((0.5, -0.5, 0.0), (0.25, 0.25, -0.5))


class Scattering(Backbone):
    """Scattering coefficients of orders 0, 1 and 2 of the luminance, 0 (or 0 and 1) of the colour.

    With J scales and L orientations the channels are, in this order: luminance order 0 (1), order 1
    (J L: scale, orientation), order 2 (J (J - 1) / 2 L^2: scale 1, scale 2 > scale 1,
    orientation 1, orientation 2); then order 0 (1), or 0 and 1 (1 + J L), of the red-green and of
    the yellow-blue opponent channel. The two colour averages are signed, all else is non-negative.
    Colour channels of grey images are exactly 0, or the floor, and cost nothing.

    Fine colour is what cameras and codecs change in any good image: Bayer filters guess the colour
    of two pixels in three, and JPEG keeps that of every fourth, coarsely. So by default its order 1
    has the two coarsest scales alone, raised by `floor`: where colour is flat it is tiny, and
    compression would make much of that (a cube root has no end to its slope at 0).

    The layer `order2` is that of images as they are, `order2_half` that of images of half their
    size, pixels averaged by fours: it adds the next coarser scale, and cells twice as wide.

    Args:
        name: Its name in tables and folders.
        layers: `order2`, `order2_half`, or both.
        image_size: One number, or `[H, W]`.
        n_scales: J; a cell of the grid is 2^J pixels wide.
        n_orientations: L.
        colour: Which colour channels there are: "coarse" (of order 1 the two coarsest scales),
            True (all), "averages" (order 0 alone), or False.
        floor: What order 1 of the colour is raised by, in units of the highest level.
        pool: Cells that are averaged along each side.
        compression: See `ChannelStandardizer`; it is not applied here.
    """

    def __init__(
        self,
        name: str,
        layers: str | Sequence[str],
        image_size: int | Sequence[int],
        n_scales: int,
        n_orientations: int,
        colour: str | bool,
        floor: float,
        pool: int | Sequence[int],
        compression: str,
    ) -> None:
        super().__init__(name, layers, pool, image_size, compression)
        _check(n_scales, n_orientations, colour, self.layers, self.image_size)
        self.n_scales = n_scales
        self.n_orientations = n_orientations
        self.colour = colour
        self.floor = floor
        height, width = self.image_size
        self.transforms = nn.ModuleDict()
        for layer in self.layers:
            size = (height // _LAYERS[layer], width // _LAYERS[layer])
            self.transforms[layer] = ScatteringTransform(size, n_scales, n_orientations)

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
            "floor": self.floor,
            "weights": TRANSFORM,
        }

    def prepare_export(self) -> None:
        """Compute by real matrix products, all planes and orientations at once."""
        for transform in self.transforms.values():
            assert isinstance(transform, ScatteringTransform)
            transform.prepare_export()

    @torch.no_grad()
    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """A map `(N, C, h, w)` float32 of each layer; see the class for the channels."""
        maps, images = [], images.float() / 255
        for layer in self.layers if layers is None else layers:
            transform = self.transforms[layer]
            assert isinstance(transform, ScatteringTransform)
            reduced = pool_features(images, _LAYERS[layer])
            parts = [self._scatter(part, transform) for part in transform.split(reduced)]
            maps.append(torch.cat(parts))
        return maps

    def _scatter(self, images: Tensor, transform: ScatteringTransform) -> Tensor:
        red, green, blue = images.unbind(1)

        def mixed(axis: tuple[float, float, float]) -> Tensor:
            return axis[0] * red + axis[1] * green + axis[2] * blue

        maps = [transform(mixed(_LUMINANCE), order=2)]
        is_grey = not transform.is_exported and bool((images[:, :1] == images[:, 1:]).all())
        order = 0 if self.colour == "averages" else 1
        first_scale = max(self.n_scales - _COARSE, 0) if self.colour == "coarse" else 0
        for axis in _OPPONENTS if self.colour else ():
            if is_grey:
                n_channels = 1 + order * (self.n_scales - first_scale) * self.n_orientations
                coefficients = torch.zeros_like(maps[0][:, :n_channels])
            else:
                coefficients = transform(mixed(axis), order, first_scale)
            coefficients[:, 1:] += self.floor
            maps.append(coefficients)
        return torch.cat(maps, dim=1)


def _check(
    n_scales: int,
    n_orientations: int,
    colour: str | bool,
    layers: Sequence[str],
    image_size: tuple[int, int],
) -> None:
    if colour not in ("coarse", "averages", True, False):
        msg = f"model.colour={colour} must be coarse, averages, true or false."
        raise ConfigError(msg)
    if unknown := [layer for layer in layers if layer not in _LAYERS]:
        msg = f"model.layers has {', '.join(unknown)}; choose from {', '.join(_LAYERS)}."
        raise ConfigError(msg)
    smallest = max(_LAYERS[layer] for layer in layers) * 2 ** max(n_scales, 0)
    if n_scales < 1 or n_orientations < 1 or min(image_size) < smallest:
        msg = (
            f"n_scales={n_scales} and n_orientations={n_orientations} must be at least 1, and "
            f"both sides of image_size={list(image_size)} at least {smallest}, that is 2^n_scales"
            f"{', twice as many with order2_half' if 'order2_half' in layers else ''}."
        )
        raise ConfigError(msg)
