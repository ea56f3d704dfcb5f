"""The result for one image."""

import importlib
import os
import sys
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from fre_lightning.images.resizing import resize_map
from fre_lightning.progress import in_notebook

_NEIGHBOURS = np.ones((3, 3), dtype=bool)  # pixels touch at edges and corners


class Box(NamedTuple):
    """A rectangle in pixels of the image file: columns x0 to x1 - 1, rows y0 to y1 - 1."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """The result for one image.

    Attributes:
        score: The image score; higher is more anomalous.
        p_value: The share of normal images that score at least this high, within 1 / (N + 1) and 1
            for N training images; None without calibration.
        threshold: The score above which an image is called defective; None if there is none.
        is_defective: Whether the score lies above the threshold; None without threshold.
        anomaly_map: `(H, W)` float32 at the model's image size.
        pixel_threshold: The map's value that few normal images exceed anywhere; None without
            calibration.
        box: Of the hottest region above the pixel threshold, in pixels of the image itself; None
            if no pixel lies above it.
        image_size: `(height, width)` of the image itself.
        pixels: `(H, W, 3)` uint8, the image at the model's image size.
        region: `(H, W)` bool, where the image counts, at the model's image size; the anomaly map is
            0 elsewhere. None: everywhere.
    """

    score: float
    p_value: float | None
    threshold: float | None
    is_defective: bool | None
    anomaly_map: NDArray[np.float32] = field(repr=False)
    pixel_threshold: float | None
    box: Box | None
    image_size: tuple[int, int]
    pixels: NDArray[np.uint8] = field(repr=False)
    region: NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """`(H, W)`, where the anomaly map exceeds the pixel threshold; None without one."""
        return None if self.pixel_threshold is None else self.anomaly_map > self.pixel_threshold

    @property
    def verdict(self) -> str:
        """The decision, with score, threshold and p-value, as a line of text."""
        if self.threshold is None:
            return f"undecided: score {self.score:.4g}, without a threshold"
        sign = ">" if self.is_defective else "<="
        p = "" if self.p_value is None else f", p = {self.p_value:.2g}"
        word = "defective" if self.is_defective else "good"
        return f"{word}: score {self.score:.4g} {sign} threshold {self.threshold:.4g}{p}"

    @property
    def picture(self) -> Image.Image:
        """The image, its heat map, the outline of `mask` on both, and the `verdict`."""
        from fre_lightning.pictures.verdicts import draw_verdict  # matplotlib takes a while

        return draw_verdict(
            self.pixels,
            self.anomaly_map,
            self.pixel_threshold,
            self.region,
            self.image_size,
            self.verdict,
        )

    def _repr_jpeg_(self) -> bytes:
        """What a notebook shows of a result; PNG would be eight times as large in its file."""
        from fre_lightning.pictures.overlays import encode

        return encode(self.picture, "JPEG")

    def show(self) -> None:
        """Show the picture, in a notebook below the cell, else in the system's viewer.

        Without a screen the verdict is printed; `picture` can be saved.
        """
        if in_notebook():
            importlib.import_module("IPython.display").display(self)
        elif _has_screen():
            self.picture.show(self.verdict)
        else:
            sys.stdout.write(f"{self.verdict}\n")

    def map_at_image_size(self) -> NDArray[np.float32]:
        """The anomaly map, resized bilinearly to `image_size`, float32."""
        resized = resize_map(torch.from_numpy(self.anomaly_map)[None], self.image_size)
        return np.asarray(resized[0])


def _has_screen() -> bool:
    """Whether the system can open a window; Linux says so in the environment."""
    is_linux = sys.platform.startswith("linux")
    return not is_linux or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def hottest_box(
    anomaly_map: NDArray[Any], pixel_threshold: float | None, image_size: tuple[int, int]
) -> Box | None:
    """The box of the 8-connected region above the threshold that holds the map's highest value.

    Args:
        anomaly_map: `(H, W)`.
        pixel_threshold: None gives None.
        image_size: `(height, width)` that the box is scaled to, rounded outwards.
    """
    if pixel_threshold is None or not anomaly_map.max() > pixel_threshold:
        return None
    regions, _ = ndimage.label(anomaly_map > pixel_threshold, structure=_NEIGHBOURS)
    row, column = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
    rows, columns = ndimage.find_objects(regions)[regions[row, column] - 1]
    (map_height, map_width), (height, width) = anomaly_map.shape, image_size
    return Box(
        columns.start * width // map_width,
        rows.start * height // map_height,
        -(-columns.stop * width // map_width),
        -(-rows.stop * height // map_height),
    )
