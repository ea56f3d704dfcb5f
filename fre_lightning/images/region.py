"""Regions of interest: which pixels of an image count, from a file to the weights of cells."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.datasets import Sample
from fre_lightning.errors import DatasetError
from fre_lightning.images.decoding import DECODING_ERRORS
from fre_lightning.images.header import header_of, read_header
from fre_lightning.images.masks import scale_levels
from fre_lightning.images.reading import reason_of
from fre_lightning.images.resizing import resize_map
from fre_lightning.images.tiling import Tiling


def read_region(region_path: Path, image_path: Path, image_size: tuple[int, int]) -> Tensor:
    """Decode a region: white counts. Its levels are read as a mask's are.

    Args:
        region_path: The file. It has the size of the image; or that of the model's images, which
            fits a dataset whose images differ in size.
        image_path: An image that it is for.
        image_size: `(H, W)` of the model's images.

    Returns:
        `(H, W)` bool, True where the image counts.

    Raises:
        DatasetError: If it cannot be decoded, has another size, or nothing in it counts.
    """
    size = read_header(image_path).size
    try:
        with Image.open(region_path) as opened:
            found = header_of(opened).size
            levels = torch.from_numpy(scale_levels(opened)) if found in {size, image_size} else None
    except DECODING_ERRORS as error:
        msg = (
            f"The region {region_path} cannot be read ({reason_of(error)}). Save it as an 8-bit "
            "PNG: 255 for pixels that count, 0 for all others."
        )
        raise DatasetError(msg) from error
    if levels is None:
        (height, width), (own_height, own_width) = size, image_size
        msg = (
            f"The region {region_path} is {found[1]}x{found[0]}, but {image_path} is "
            f"{width}x{height}. Save it at this size, or, if images differ in size, at "
            f"{own_width}x{own_height}, to which all are resized."
        )
        raise DatasetError(msg)
    region = resize_map(levels[None], image_size)[0] > 0.5
    if not region.any():
        msg = (
            f"The region {region_path} is empty at {image_size[1]}x{image_size[0]} pixels. Draw "
            "in white what counts, or leave dataset.roi out."
        )
        raise DatasetError(msg)
    return region


def read_regions(samples: Sequence[Sample], image_size: tuple[int, int]) -> Tensor | None:
    """The regions `(N, H, W)` bool of images; None if they have none of their own."""
    pairs = [(s.region_path, s.path) for s in samples if s.region_path is not None]
    return torch.stack([read_region(*pair, image_size) for pair in pairs]) if pairs else None


def cell_weights(
    regions: Tensor, tiling: Tiling, tile_size: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """The share of each cell of feature maps that lies within a region.

    Args:
        regions: `(N, H, W)` bool.
        tiling: How images are cut.
        tile_size: `(H', W')` of a tile.
        grid: `(h, w)` of a tile's feature maps.

    Returns:
        `(N, T, h, w)` float32 from 0 to 1, of T tiles.
    """
    tiles = tiling.cut(regions[:, None].float(), tile_size)
    return F.adaptive_avg_pool2d(tiles, grid).view(len(regions), tiling.n_tiles, *grid)
