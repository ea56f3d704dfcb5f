"""Small pictures of test images: the image with its mask's outline, and its heat map."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.config import build_stored
from fre_lightning.datasets import AnomalyDataset, Sample
from fre_lightning.errors import FREError
from fre_lightning.files import relative_path, replacing
from fre_lightning.images.decoding import DECODING_ERRORS
from fre_lightning.images.header import read_header
from fre_lightning.images.intensity import Intensity
from fre_lightning.images.masks import read_mask
from fre_lightning.images.reading import read_levels, to_8_bit
from fre_lightning.pictures.colors import ColorScale
from fre_lightning.pictures.overlays import encode
from fre_lightning.pictures.pairs import draw_pair
from fre_lightning.pictures.panels import PanelArtist
from fre_lightning.progress import progress
from fre_lightning.threads import thread_pool

log = logging.getLogger(__name__)

SIDE = 160
"""Pixels of the longer side of the image; the picture is the image and its heat map in a row."""
MAX_PICTURES = 2000
"""The most pictures on a page, so that it opens quickly."""

_OVERSAMPLING = 2  # of masks, so that a defect smaller than a pixel keeps its outline


def thumbnail_path(folder: Path, index: int) -> Path:
    """The picture of the test image in row `index` of `scores.csv`."""
    return folder / f"{index:05d}.webp"


def is_mistake(label: int, score: float, threshold: float | None) -> bool:
    """Whether an image lies on the wrong side of the threshold."""
    return threshold is not None and (score > threshold) != bool(label)


def gallery_order(
    labels: Sequence[int], scores: Sequence[float], threshold: float | None
) -> list[int]:
    """Indices of the test images, hardest first.

    Mistakes come before all others. Within each of the two, good images by descending and
    defective ones by ascending score take turns, as the two kinds are not comparable.

    Args:
        labels: 1 for defective images.
        scores: As many.
        threshold: Above which an image is called defective; None if no image can be a mistake.
    """
    hardness = [score if label else -score for label, score in zip(labels, scores, strict=True)]
    keys = {}
    ranks: Counter[tuple[bool, int]] = Counter()
    for index in sorted(range(len(scores)), key=hardness.__getitem__):
        group = (not is_mistake(labels[index], scores[index], threshold), labels[index])
        keys[index] = (group[0], ranks[group], labels[index])
        ranks[group] += 1
    return sorted(keys, key=keys.__getitem__)


def write_thumbnails(folder: Path, order: Sequence[int], artist: PanelArtist) -> None:
    """Write the pictures of the first `MAX_PICTURES` images of `order` that can still be read."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = order[:MAX_PICTURES]

    def write(index: int) -> None:
        sample, anomaly_map = artist.samples[index], artist.anomaly_map(index)
        region = artist.region(index)
        encoded = draw_thumbnail(sample, anomaly_map, artist.scale, artist.intensity, region)
        if encoded is not None:
            with replacing(thumbnail_path(folder, index)) as temporary:
                temporary.write_bytes(encoded)

    with thread_pool(artist.n_threads) as pool:
        list(progress(pool.map(write, chosen), "Thumbnails", len(chosen)))


def draw_thumbnail(
    sample: Sample,
    anomaly_map: Tensor | None = None,
    scale: ColorScale | None = None,
    intensity: Intensity | None = None,
    region: Tensor | None = None,
) -> bytes | None:
    """A picture of a test image, as WebP.

    Args:
        sample: The image, and its mask if there is one.
        anomaly_map: `(H, W)` float of any size; None leaves the heat map out.
        scale: Of the heat map's colours.
        intensity: The range of the image's levels.
        region: `(H, W)` bool of any size, outside of which all is dark.

    Returns:
        The file's content; None if the image or the mask cannot be read.
    """
    try:
        pixels = _read(sample.path, intensity)
        mask = _read_mask(sample, pixels.shape[:2])
    except (*DECODING_ERRORS, FREError) as error:
        log.warning("%s is missing from the report: %s", sample.path, error)
        return None
    return encode(draw_pair(pixels, anomaly_map, scale, mask, region), "WEBP")


def draw_from_dataset(
    config: Mapping[str, Any], paths: Mapping[int, str], intensity: Intensity | None = None
) -> dict[int, bytes]:
    """Draw pictures without heat maps, for images without a stored thumbnail.

    Args:
        config: The run's resolved configuration.
        paths: Index and path relative to the dataset of each image.
        intensity: The range of their levels.

    Returns:
        The pictures of the images that are still there.
    """
    try:
        dataset: AnomalyDataset = build_stored("dataset", config)
        samples = {
            relative_path(sample.path, dataset.files_root).as_posix(): sample
            for sample in dataset.scan().test
        }
    except (FREError, OSError, KeyError) as error:
        log.warning("Pictures are missing, for the dataset cannot be read: %s", error)
        return {}
    drawn = {
        index: draw_thumbnail(samples[path], intensity=intensity)
        for index, path in paths.items()
        if path in samples
    }
    return {index: picture for index, picture in drawn.items() if picture is not None}


def _read(path: Path, intensity: Intensity | None) -> np.ndarray:
    """An image, its longer side `SIDE` pixels, `(h, w, 3)` uint8."""
    sides = read_header(path).size
    height, width = (max(1, round(side * SIDE / max(sides))) for side in sides)
    if path.suffix.lower() in {".jpg", ".jpeg"}:
        with Image.open(path) as opened:
            opened.draft(opened.mode, (2 * width, 2 * height))  # decodes to a fraction of its size
            image = to_8_bit(opened, intensity)
            image.load()
    else:
        image = Image.fromarray(read_levels(path, intensity))
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.array(small.convert("RGB"))


def _read_mask(sample: Sample, size: Sequence[int]) -> Tensor | None:
    """The mask `(h, w)` bool, at least a pixel of each defect; None if there is none."""
    if not sample.mask_paths:
        return None
    fine_size = (_OVERSAMPLING * size[0], _OVERSAMPLING * size[1])
    mask = read_mask(sample.mask_paths, sample.path, fine_size)
    return F.max_pool2d(mask.float()[None], _OVERSAMPLING)[0] > 0
