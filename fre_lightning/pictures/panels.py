"""Panels: an image, its mask and its heat map side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from fre_lightning.datasets import Sample
from fre_lightning.datasets.listing import is_image_name
from fre_lightning.files import relative_path, replacing
from fre_lightning.images.intensity import Intensity
from fre_lightning.images.masks import read_mask
from fre_lightning.images.reading import read_image
from fre_lightning.images.region import read_regions
from fre_lightning.pictures.colors import ColorScale, blend, colorize, dim, find_color_scale
from fre_lightning.progress import progress
from fre_lightning.threads import thread_pool

_OPACITY = 0.55
_GAP = 4


def draw_panel(
    image: Tensor,
    mask: Tensor | None,
    anomaly_map: Tensor,
    scale: ColorScale,
    region: Tensor | None = None,
) -> Image.Image:
    """An image, its mask if there is one, and its heat map over the image, side by side.

    Args:
        image: `(3, H, W)` uint8.
        mask: `(H, W)` bool.
        anomaly_map: `(H, W)` float.
        scale: Of the colours.
        region: `(H, W)` bool, outside of which all is dark.
    """
    pixels = image.permute(1, 2, 0).numpy()
    heat_map = blend(pixels, colorize(anomaly_map, scale), _OPACITY)
    parts = [dim(part, region) for part in (pixels, heat_map)]
    if mask is not None:
        parts.insert(1, np.repeat(255 * mask.numpy().astype(np.uint8)[..., None], 3, axis=2))
    gap = np.full((len(pixels), _GAP, 3), 255, np.uint8)
    row = [piece for part in parts for piece in (part, gap)][:-1]
    return Image.fromarray(np.concatenate(row, axis=1))


class PanelArtist:
    """Draws the panels of test images on one colour scale.

    Args:
        samples: The images.
        error_maps: `(N, h, w)`, normalised.
        to_anomaly_maps: Turns error maps `(n, h, w)` and regions `(n, H, W)`, if images have their
            own, into anomaly maps `(n, H, W)`.
        region: `(H, W)` bool, the detector's; None: all images count everywhere.
        image_size: `(H, W)`.
        intensity: The range of the images' levels.
        n_threads: The number of images to be drawn at a time.
        pixel_threshold: The detector's; None if it has none.

    Attributes:
        scale: The colour scale.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        error_maps: Tensor,
        to_anomaly_maps: Callable[[Tensor, Tensor | None], Tensor],
        region: Tensor | None,
        image_size: tuple[int, int],
        intensity: Intensity | None,
        n_threads: int,
        pixel_threshold: float | None,
    ) -> None:
        self.samples = samples
        self.n_threads = n_threads
        self.intensity = intensity
        self._error_maps = error_maps
        self._to_anomaly_maps = to_anomaly_maps
        self._region = region
        self._image_size = image_size
        self.scale = find_color_scale(pixel_threshold, error_maps)

    def anomaly_map(self, index: int) -> Tensor:
        """The anomaly map `(H, W)` of the test image `index`, at the model's image size."""
        return self._to_anomaly_maps(self._error_maps[index][None], self._own_region(index))[0]

    def region(self, index: int) -> Tensor | None:
        """Where the test image `index` counts, `(H, W)` bool; None: everywhere."""
        own = self._own_region(index)
        return self._region if own is None else own[0]

    def _own_region(self, index: int) -> Tensor | None:
        """The region of an image that has one of its own, `(1, H, W)`."""
        own = read_regions(self.samples[index : index + 1], self._image_size)
        return own if own is None or self._region is None else own & self._region

    def draw(self, index: int) -> Image.Image:
        """The panel of the test image `index`."""
        sample, mask = self.samples[index], None
        if sample.mask_paths:
            mask = read_mask(sample.mask_paths, sample.path, self._image_size)
        image = read_image(sample.path, self._image_size, self.intensity)
        return draw_panel(image, mask, self.anomaly_map(index), self.scale, self.region(index))


def heatmap_name(image: Path, root: Path) -> Path:
    """The path of an image's heat map, relative to the folder of all heat maps.

    It is the image's own, within `root` if it lies there; names that do not end in `.png`, or
    would after that still be an image's, get this ending, so that no two images share a name.
    """
    name = relative_path(image, root)
    if name.suffix.lower() == ".png" and not is_image_name(name.stem):
        return name
    return name.with_name(f"{name.name}.png")


def write_heatmaps(folder: Path, root: Path, artist: PanelArtist) -> None:
    """Write a PNG per test image, in folders named as the dataset's own, at `root`."""
    n_images = len(artist.samples)

    def write(index: int) -> None:
        path = folder / heatmap_name(artist.samples[index].path, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            artist.draw(index).save(temporary, format="png", compress_level=1)

    with thread_pool(artist.n_threads) as pool:
        list(progress(pool.map(write, range(n_images)), "Heat maps", n_images))
