"""Drawings of defect-free parts for the synthetic dataset, each slightly different.

All lengths are in units of 1/256 of the image's side: a part looks alike at every image size.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Part(NamedTuple):
    """A part on a background, as light without a camera's faults.

    Attributes:
        image: `(S, S, 3)`, RGB in about 0..1.
        surface: `(S, S)`, 1 on the part, 0 on the background.
        background: `(S, S, 3)`, visible where a piece of the part is missing.
    """

    image: Array
    surface: Array
    background: Array

    @property
    def solid(self) -> NDArray[np.bool_]:
        """`(S, S)`, True on the part except its edge."""
        return self.surface > 0.99


def smooth_noise(size: int, rng: np.random.Generator, rows: float, columns: float = 0.0) -> Array:
    """Gaussian noise blurred by a Gaussian, of mean 0 and standard deviation 1.

    Args:
        size: Side S of the result, `(S, S)`.
        rng: Source of the noise.
        rows: Standard deviation of the blur from row to row, in units.
        columns: The same from column to column; 0 stands for `rows`.
    """
    unit = size / 256
    y, x = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    exponent = (y * rows * unit) ** 2 + (x * (columns or rows) * unit) ** 2
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * np.exp(-2 * np.pi**2 * exponent)
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray((noise - noise.mean()) / (noise.std() + 1e-12))


def grid(size: int, rng: np.random.Generator, shift: float, degrees: float) -> tuple[Array, Array]:
    """Coordinates `(x, y)` in units from the centre, with a random shift and turn."""
    axis = (np.arange(size) + 0.5) * 256 / size - 128
    x, y = axis[None, :] - rng.uniform(-shift, shift), axis[:, None] - rng.uniform(-shift, shift)
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def inside(distance: Array, size: int, softness: float = 1.0) -> Array:
    """1 where a distance in units is negative, 0 where it is positive, with a smooth edge."""
    return np.clip(0.5 - distance * size / 256 / softness, 0, 1)


def color(red: float, green: float, blue: float) -> Array:
    """A colour from its 8-bit levels."""
    return np.array([red, green, blue]) / 255


def fabric(size: int, rng: np.random.Generator) -> Part:
    """Blue twill: each warp thread passes over two weft threads and under one, in steps."""
    x, y = grid(size, rng, shift=30, degrees=1.5)
    u = (x + 0.6 * smooth_noise(size, rng, 24)) / 5.5
    v = (y + 0.6 * smooth_noise(size, rng, 24)) / 5.5
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    across_u, across_v = np.sin(np.pi * (u - i)), np.sin(np.pi * (v - j))
    warp_on_top = (i + j) % 3 != 0
    relief = np.where(warp_on_top, across_u * (0.7 + 0.3 * across_v), across_v)
    thread = np.where(warp_on_top, i, j + 500) % 997
    dye = (1 + 0.045 * rng.standard_normal(997))[thread] + 0.05 * smooth_noise(size, rng, 1.5)
    yarn = np.where(warp_on_top[..., None], color(74, 100, 148), color(176, 184, 196))
    image = (
        yarn * (dye * (0.45 + 0.6 * relief) * (1 + 0.03 * smooth_noise(size, rng, 30)))[..., None]
    )
    return Part(image, np.ones((size, size)), np.broadcast_to(color(24, 24, 28), image.shape))


def leather(size: int, rng: np.random.Generator) -> Part:
    """Brown grain: cells around scattered points, with creases between them, lit from one side."""
    x, y = grid(size, rng, shift=0, degrees=0)
    nearest, second = _two_nearest(
        x + 2.5 * smooth_noise(size, rng, 7), y + 2.5 * smooth_noise(size, rng, 7), 9.0, rng
    )
    height = np.tanh(2.2 * (second - nearest)) * (1 - 0.5 * nearest**2)
    height += 0.05 * smooth_noise(size, rng, 1.0)
    slope = (np.gradient(height, axis=1) + 0.8 * np.gradient(height, axis=0)) * size / 256
    light = 0.72 + 0.26 * height - 0.55 * slope + 0.05 * smooth_noise(size, rng, 28)
    tint = color(134, 84, 52) * (1 + 0.03 * rng.standard_normal())
    image = tint * light[..., None] + 0.10 * np.clip(-slope - 0.1, 0, None)[..., None]
    return Part(image, np.ones((size, size)), np.broadcast_to(color(40, 26, 18), image.shape))


def _two_nearest(x: Array, y: Array, cell: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Distances, in cells, to the two nearest of scattered points, one per cell (Worley, 1996)."""
    u, v = x / cell + 20, y / cell + 20
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    points = rng.uniform(0.1, 0.9, (2, 48, 48))
    first, second = np.full(u.shape, 9.0), np.full(u.shape, 9.0)
    for dj in (-1, 0, 1):
        for di in (-1, 0, 1):
            column, row = (i + di) % 48, (j + dj) % 48
            offset_x = i + di + points[0, row, column] - u
            distance = offset_x**2 + (j + dj + points[1, row, column] - v) ** 2
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
    return np.sqrt(first), np.sqrt(second)


def metal(size: int, rng: np.random.Generator) -> Part:
    """A brushed plate with four drilled holes and a slot."""
    x, y = grid(size, rng, shift=3, degrees=1.5)
    brush = 0.055 * smooth_noise(size, rng, 0.7, 45) + 0.03 * smooth_noise(size, rng, 2.5, 90)
    sheen = 0.05 * np.cos((y + rng.uniform(-25, 25)) / 60) + 0.02 * smooth_noise(size, rng, 40)
    light = 0.66 + brush + sheen
    hollow = np.hypot(np.maximum(np.abs(x) - 34, 0), y) - 11
    for corner_x, corner_y in ((-82, -82), (82, -82), (-82, 82), (82, 82)):
        hollow = np.minimum(hollow, np.hypot(x - corner_x, y - corner_y) - 15)
    lit = np.gradient(hollow, axis=0) + np.gradient(hollow, axis=1)
    light -= 0.14 * np.exp(-(((hollow - 2) / 1.8) ** 2)) * lit * size / 256
    surface = 1 - inside(hollow, size, 1.5)
    depth = 0.13 + 0.10 * inside(hollow + 7, size, 10)
    background = np.broadcast_to(color(215, 220, 235), (size, size, 3)) * depth[..., None]
    image = light[..., None] * color(236, 240, 246) * surface[..., None]
    return Part(image + background * (1 - surface[..., None]), surface, background)


def gear(size: int, rng: np.random.Generator) -> Part:
    """A turned gear wheel on a plain table, with its shadow."""
    x, y = grid(size, rng, shift=3, degrees=3)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    tooth = np.tanh(2.5 * np.cos(18 * angle)) * 6.5
    hollow = radius - 86 - tooth
    hollow = np.maximum(hollow, 22 - radius)
    for turn in np.arange(6) * np.pi / 3:
        hollow = np.maximum(hollow, 9 - np.hypot(x - 48 * np.cos(turn), y - 48 * np.sin(turn)))
    surface, shadow = inside(hollow, size, 1.5), inside(hollow, size, 14)
    rings = np.interp(radius, np.arange(0, 190, 0.8), rng.standard_normal(238))
    glint = np.cos(2 * (angle - np.deg2rad(rng.uniform(25, 45)))) * np.clip(radius / 60, 0, 1)
    light = 0.52 + 0.03 * rings + 0.17 * glint + 0.012 * smooth_noise(size, rng, 1.0)
    light += 0.15 * np.exp(-(((hollow + 2.5) / 1.5) ** 2))
    for groove in (30, 68):
        light -= 0.10 * inside(np.abs(radius - groove) - 1.5, size)
    offset = round(5 * size / 256)
    shadow = np.roll(shadow, (offset, offset), axis=(0, 1))
    table = 0.80 + 0.008 * smooth_noise(size, rng, 20) - 0.32 * shadow
    background = table[..., None] * color(236, 238, 240)
    body = light[..., None] * color(250, 243, 230)
    return Part(
        body * surface[..., None] + background * (1 - surface[..., None]), surface, background
    )


def bolt(size: int, rng: np.random.Generator) -> Part:
    """A screw bolt on a plain table, with its shadow, turned at random; it fills a tenth."""
    x, y = grid(size, rng, shift=8, degrees=180)
    is_thread = np.clip((x + 22) / 4, 0, 1) * np.clip((84 - x) / 8, 0, 1)
    ridge = is_thread * np.cos(2 * np.pi * (x + 0.12 * y) / 7.5 + rng.uniform(0, 2 * np.pi))
    head = np.where(np.abs(x + 76) < 10, 25 - 2.5 * np.clip(np.abs(x + 76) - 7, 0, 3), 0)
    shaft = np.where(x > -72, np.clip(88 - x, 0, 11), 0) + 1.5 * is_thread * (1 + ridge)
    radius = np.maximum(head, shaft * (x < 88))
    hollow = np.maximum(np.abs(y) - radius, np.abs(x) - 87)
    surface, shadow = inside(hollow, size, 1.5), inside(hollow, size, 12)
    height = np.sqrt(np.clip(radius**2 - y**2, 0, None)) + 1.2 * ridge
    slope = (0.8 * np.gradient(height, axis=1) + np.gradient(height, axis=0)) * size / 256
    light = 0.50 - 0.26 * np.tanh(0.8 * slope) + 0.02 * smooth_noise(size, rng, 1.2)
    offset = round(6 * size / 256)
    shadow = np.roll(shadow, (offset, offset), axis=(0, 1))
    table = 0.74 + 0.008 * smooth_noise(size, rng, 20) - 0.28 * shadow
    background = table[..., None] * color(232, 236, 240)
    body = light[..., None] * color(246, 240, 228)
    return Part(
        body * surface[..., None] + background * (1 - surface[..., None]), surface, background
    )


PARTS = {draw.__name__: draw for draw in (bolt, fabric, gear, leather, metal)}
"""The drawing function of each category."""


def photograph(image: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Photograph `(S, S, 3)` light: uneven lighting, exposure, noise, 8 bits."""
    size = len(image)
    axis = np.linspace(-1, 1, size)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.06)
    slope = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]
    vignette = 0.05 * (axis[None, :] ** 2 + axis[:, None] ** 2)
    gain = rng.normal(1, 0.02) * (1 + strength * slope - vignette)
    balance = 1 + 0.005 * rng.standard_normal(3)
    noise = 0.012 * rng.standard_normal((size, size, 1)) + 0.005 * rng.standard_normal(image.shape)
    levels = image * gain[..., None] * balance + noise
    pixels: NDArray[np.uint8] = np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)
    return pixels
