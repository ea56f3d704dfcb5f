"""Defects for the synthetic dataset: each spoils a part and returns the exact place.

All lengths are in units of 1/256 of the image's side.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fre_lightning.datasets.synthetic_parts import Array, Part, color, smooth_noise

Spoilt = tuple[Array, Array]
"""The image `(S, S, 3)`, and the strength of the defect at each pixel, `(S, S)` in 0..1."""

Where = NDArray[np.bool_]

Spoil = Callable[[Part, np.random.Generator], Spoilt]


def blend(image: Array, other: Array, weight: Array) -> Array:
    """`other` where the weight is 1, `image` where it is 0."""
    return image + weight[..., None] * (other - image)


def around_point(allowed: Where, rng: np.random.Generator) -> tuple[Array, Array]:
    """Distances `(x, y)` in units from a random allowed pixel, away from the image's border."""
    size = len(allowed)
    margin = size // 12
    inner = slice(margin, size - margin)
    rows, columns = np.nonzero(allowed[inner, inner])
    index = rng.integers(len(rows))
    axis = (np.arange(size) + 0.5) * 256 / size
    return axis - axis[margin + columns[index]], (axis - axis[margin + rows[index]])[:, None]


def blob(
    allowed: Where, rng: np.random.Generator, radius: float, softness: float, roughness: float
) -> Array:
    """An irregular spot around a random allowed point."""
    x, y = around_point(allowed, rng)
    stretch = rng.uniform(0.8, 1.25)
    distance = np.hypot(x * stretch, y / stretch) / radius
    noise = smooth_noise(len(allowed), rng, radius / 2.5)
    edge = 1 - distance + roughness * noise * (distance > 0.3)
    return np.asarray(np.clip(edge / softness + 0.5, 0, 1))


def line(
    allowed: Where, rng: np.random.Generator, length: float, width: float, angle: float
) -> Array:
    """A slightly bent line through a random allowed point."""
    size = len(allowed)
    x, y = around_point(allowed, rng)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bend = rng.uniform(-0.15, 0.15) / length
    across = across + bend * along**2 + 0.5 * smooth_noise(size, rng, 10)
    pixel = 256 / size
    profile = np.clip((width / 2 - np.abs(across)) / max(pixel, width / 2) + 0.5, 0, 1)
    return np.asarray(profile * np.clip((length / 2 - np.abs(along)) / (length / 6), 0, 1))


def scratch(part: Part, rng: np.random.Generator, strength: float = 1.0) -> Spoilt:
    """A thin line, lighter or darker than the part."""
    length, width = rng.uniform(30, 100), rng.uniform(1.5, 3.5)
    weight = line(part.solid, rng, length, width, rng.uniform(0, np.pi)) * part.surface
    gain = 1 + rng.choice([-1, 1]) * strength * rng.uniform(0.2, 0.55)
    return blend(part.image, part.image * gain, weight), weight


def cut(part: Part, rng: np.random.Generator) -> Spoilt:
    """A gash; the background shows through it."""
    length, width = rng.uniform(35, 100), rng.uniform(3.0, 6.0)
    weight = line(part.solid, rng, length, width, rng.uniform(0, np.pi)) * part.surface
    return blend(part.image, part.background, rng.uniform(0.5, 0.95) * weight), weight


def stain(part: Part, rng: np.random.Generator, strength: float = 1.0) -> Spoilt:
    """A darker spot, often only slightly."""
    spot = blob(part.solid, rng, rng.uniform(10, 26), 0.5, 0.25) * part.surface
    tint = 1 - strength * rng.uniform(0.2, 0.5) * np.array([0.8, 0.9, 1.1])
    return blend(part.image, part.image * tint, spot), spot


def discoloration(part: Part, rng: np.random.Generator) -> Spoilt:
    """A wide soft region of another hue at the same brightness."""
    spot = blob(part.solid, rng, rng.uniform(16, 34), 0.8, 0.2) * part.surface
    strength = rng.uniform(0.12, 0.3) * rng.choice([-1, 1])
    return blend(part.image, part.image * (1 + strength * np.array([1.0, -0.2, -0.8])), spot), spot


def rust(part: Part, rng: np.random.Generator) -> Spoilt:
    """A ragged brown patch."""
    spot = blob(part.solid, rng, rng.uniform(5, 14), 0.6, 0.45) * part.surface
    grain = 1 + 0.2 * smooth_noise(len(spot), rng, 1.2)
    weight = spot * rng.uniform(0.25, 0.7)
    return blend(part.image, color(112, 66, 40) * grain[..., None], weight), spot


def specks(part: Part, rng: np.random.Generator) -> Spoilt:
    """A few dark particles close to each other."""
    near = blob(part.solid, rng, 22, 0.1, 0.0) * part.surface
    spots = [blob((near > 0) & part.solid, rng, rng.uniform(1.8, 4.0), 0.4, 0.1) for _ in range(6)]
    weight = np.max(spots[: rng.integers(2, 7)], axis=0) * part.surface
    return blend(part.image, part.image * rng.uniform(0.3, 0.6), weight), weight


def dent(part: Part, rng: np.random.Generator, strength: float = 1.0) -> Spoilt:
    """A hollow: dark on the side of the light, bright on the other side."""
    size, radius = len(part.surface), rng.uniform(6, 14)
    spot = blob(part.solid, rng, radius, 1.6, 0.0)
    slope = np.gradient(spot, axis=1) + np.gradient(spot, axis=0)
    relief = slope * size / 256 * radius * strength * rng.uniform(0.2, 0.45) * part.surface
    return part.image * (1 - relief[..., None]), spot * part.surface


def displacement(part: Part, rng: np.random.Generator) -> Spoilt:
    """A patch with its texture pulled to one side."""
    size = len(part.surface)
    spot = blob(part.solid, rng, rng.uniform(9, 20), 1.2, 0.1) * part.surface
    angle, pull = rng.uniform(0, 2 * np.pi), rng.uniform(4, 9) * size / 256
    rows, columns = np.indices((size, size))
    rows = np.rint(rows + pull * spot * np.sin(angle)).astype(int).clip(0, size - 1)
    columns = np.rint(columns + pull * spot * np.cos(angle)).astype(int).clip(0, size - 1)
    return part.image[rows, columns], spot


def smudge(part: Part, rng: np.random.Generator, radius: tuple[float, float] = (8, 20)) -> Spoilt:
    """A patch with smeared texture or relief."""
    spot = blob(part.solid, rng, rng.uniform(*radius), 0.8, 0.15) * part.surface
    mean = (part.image * spot[..., None]).sum(axis=(0, 1)) / spot.sum()
    weight = spot * rng.uniform(0.5, 0.9)
    return blend(part.image, np.broadcast_to(mean, part.image.shape), weight), spot


def thread(part: Part, rng: np.random.Generator) -> Spoilt:
    """A single wide thread, darker or paler than the others."""
    angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.02)
    weight = line(part.solid, rng, rng.uniform(60, 160), rng.uniform(4, 7), angle)
    gain = rng.choice([rng.uniform(0.55, 0.8), rng.uniform(1.2, 1.5)])
    smooth = part.image.mean(axis=(0, 1)) * gain
    return blend(part.image, np.broadcast_to(smooth, part.image.shape), 0.85 * weight), weight


def fold(part: Part, rng: np.random.Generator) -> Spoilt:
    """A long soft crease, dark beside bright."""
    length, width = rng.uniform(60, 130), rng.uniform(6, 11)
    weight = line(part.solid, rng, length, width, rng.uniform(0, np.pi)) * part.surface
    slope = np.gradient(weight, axis=1) + np.gradient(weight, axis=0)
    relief = slope * len(weight) / 256 * width * rng.uniform(0.10, 0.30)
    return part.image * (1 - relief - 0.06 * weight)[..., None], weight


def hole(part: Part, rng: np.random.Generator) -> Spoilt:
    """A small hole; the background shows through it."""
    spot = blob(part.solid, rng, rng.uniform(4, 8), 0.4, 0.2) * part.surface
    return blend(part.image, part.background, 0.85 * spot), spot


def chip(
    part: Part,
    rng: np.random.Generator,
    radius: tuple[float, float] = (7, 12),
    from_center: float = 70,
) -> Spoilt:
    """A piece missing from an edge, at least `from_center` units from the image's centre."""
    size = len(part.surface)
    axis = np.linspace(-128, 128, size)
    outer = np.hypot(axis, axis[:, None]) > from_center
    rim = (part.surface > 0.3) & (part.surface < 0.99) & outer
    spot = blob(rim, rng, rng.uniform(*radius), 0.25, 0.1) * part.surface
    return blend(part.image, part.background, spot), spot


DEFECTS: dict[str, dict[str, Spoil]] = {
    "bolt": {  # small defects, because the bolt is small
        "flat": partial(smudge, radius=(6, 11)),
        "nick": partial(chip, radius=(4, 7), from_center=0),
        "rust": rust,
        "scratch": scratch,
    },
    "fabric": {"hole": hole, "pulled": displacement, "stain": stain, "thread": thread},
    "gear": {"chip": chip, "dent": dent, "rust": rust, "scratch": scratch},
    "leather": {"colour": discoloration, "cut": cut, "fold": fold, "poke": specks},
    "metal": {  # weak defects, because they show more than on a rough texture
        "dent": partial(dent, strength=0.8),
        "scratch": partial(scratch, strength=0.6),
        "smudge": smudge,
        "stain": partial(stain, strength=0.35),
    },
}
"""The defect types of each category."""


def to_mask(weight: Array) -> NDArray[np.uint8]:
    """The mask `(S, S)`: 255 where the defect has at least a third of its full strength, else 0."""
    return np.where(weight > weight.max() / 3, 255, 0).astype(np.uint8)
