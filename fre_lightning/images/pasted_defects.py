"""Images of good parts with a drawn defect on each, to judge a detector without defective parts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fre_lightning.datasets.synthetic_defects import Where, blend, blob, line
from fre_lightning.errors import ConfigError
from fre_lightning.files import file_key
from fre_lightning.images.changed import ChangedImages
from fre_lightning.images.decoding import DECODING_ERRORS
from fre_lightning.images.intensity import Intensity
from fre_lightning.images.reading import Levels, read_levels
from fre_lightning.images.region import read_region

KINDS = ("piece", "spot", "scratch")
"""A piece of another image; a brighter or darker spot; a brighter or darker line."""

_CANVAS = 512  # pixels a side at most: drawing on more takes longer, and shows no more
_VERSION = 1  # of the drawing, in cache keys


class PastedDefects(ChangedImages):
    """Images with a drawn defect on each.

    Sizes, contrasts and places are drawn at random, the kinds take turns.

    Args:
        paths: All files, in order; pieces are cut from these.
        turn: 0, 1, ...: other defects on the same images, of the kind that is next in turn.
        kinds: Some of `KINDS`.
        regions: The files that say where each image counts: there the middle of its defect lies.

    Raises:
        ConfigError: If there is no such kind.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        turn: int,
        kinds: Sequence[str] = KINDS,
        regions: Sequence[Path | None] | None = None,
    ) -> None:
        if not kinds or not set(kinds) <= set(KINDS):
            msg = (
                f"Kinds of drawn defects are {', '.join(KINDS)}; got {', '.join(kinds) or 'none'}."
            )
            raise ConfigError(msg)
        super().__init__(paths)
        self._kinds = list(kinds)
        self._regions = list(regions or [None] * len(paths))
        self._turn = turn

    def fingerprint(self) -> dict[str, object]:
        """Kinds, turn, regions, and the version of the drawing."""
        regions = [file and file_key(file, file.parent) for file in self._regions]
        drawn = {"kinds": self._kinds, "turn": self._turn, "regions": regions}
        return {"drawn_defects": drawn, "drawing": _VERSION}

    def kind(self, path: Path) -> str:
        """The kind of an image's defect."""
        return self._kind(self.number(path))

    def _kind(self, number: int) -> str:
        return self._kinds[(number + self._turn) % len(self._kinds)]

    def change(self, number: int, intensity: Intensity | None, levels: Levels) -> Levels:
        """Draw a defect on an image."""
        rng = np.random.default_rng([number, self._turn])
        other = self.paths[number - rng.integers(1, max(2, len(self.paths)))]
        try:
            donor = read_levels(other, intensity)
        except DECODING_ERRORS:  # told of when its own turn comes
            donor = levels
        region, size = self._regions[number], (levels.shape[0], levels.shape[1])
        inside = None if region is None else read_region(region, self.paths[number], size).numpy()
        return draw_defect(self._kind(number), levels, donor, rng, inside)


def draw_defect(
    kind: str,
    levels: Levels,
    donor: Levels,
    rng: np.random.Generator,
    region: Where | None = None,
) -> Levels:
    """Draw a defect on an image.

    Args:
        kind: One of `KINDS`.
        levels: `(h, w)` or `(h, w, 3)`.
        donor: An image of any size, from which a piece is taken.
        rng: Decides on size, contrast and place.
        region: `(h, w)` bool, where its middle lies, if that is not at the very edge.

    Returns:
        `(h, w)`, or `(h, w, 3)` if one of the two images has colours.
    """
    image = np.atleast_3d(levels).astype(np.float64)
    height, width = image.shape[:2]
    size = min(_CANVAS, max(height, width))
    inside = _middle(size, height, width)
    allowed = _allowed(size, inside, region)
    if kind == "scratch":
        length, angle = _log_uniform(rng, 16, 96), rng.uniform(0, np.pi)
        weight = line(allowed, rng, length, _log_uniform(rng, 1.2, 4), angle)
    else:
        weight = blob(allowed, rng, _log_uniform(rng, 2.5, 14), 0.5, 0.25)
    if kind == "piece":
        down, right = rng.integers(donor.shape[0]), rng.integers(donor.shape[1])
        rows = (np.arange(height) + down) % donor.shape[0]
        columns = (np.arange(width) + right) % donor.shape[1]
        other = np.atleast_3d(donor)[rows[:, None], columns].astype(np.float64)
    else:
        other = image + rng.choice((-1, 1)) * _log_uniform(rng, 8, 80)
    part = Image.fromarray(weight[inside].astype(np.float32))
    resized = part.resize((width, height), Image.Resampling.BILINEAR)
    spoilt = blend(image, other, np.asarray(resized, np.float64))
    levels = np.clip(np.rint(spoilt), 0, 255).astype(np.uint8)
    return levels[..., 0] if levels.shape[2] == 1 else levels


def _allowed(size: int, inside: tuple[slice, slice], region: Where | None) -> Where:
    """Where in the square the middle of a defect may lie."""
    allowed: Where = np.zeros((size, size), bool)
    allowed[inside] = True
    if region is not None:
        within = np.zeros_like(allowed)
        columns, rows = (part.stop - part.start for part in reversed(inside))
        within[inside] = Image.fromarray(region).resize((columns, rows), Image.Resampling.NEAREST)
        margin = size // 12  # kept clear of, see `around_point`
        if within[margin : size - margin, margin : size - margin].any():
            return within
    return allowed


def _middle(size: int, height: int, width: int) -> tuple[slice, slice]:
    """Where an image of `(height, width)` lies in a square of `size` that is as wide or high."""
    sides = (max(1, size * side // max(height, width)) for side in (height, width))
    rows, columns = (slice((size - side) // 2, (size + side) // 2) for side in sides)
    return rows, columns


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
