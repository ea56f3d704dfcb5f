"""Real images to compare an export on: given ones, the run's own, or drawn ones."""

import glob
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image

from fre_lightning.config import build
from fre_lightning.datasets import Synthetic
from fre_lightning.datasets.listing import is_image_name, list_images_below
from fre_lightning.errors import ConfigError, FREError, UnreadableImageError
from fre_lightning.images.reading import DECODING_ERRORS, to_8_bit

log = logging.getLogger(__name__)

_DRAWN_SIDES = (300, 260)


class Samples(NamedTuple):
    """Decoded images.

    Attributes:
        source: Where they come from, for the report.
        images: `(H, W, 3)` uint8 each, RGB.
    """

    source: str
    images: list[NDArray[np.uint8]]


def load_samples(images: str | None, checkpoint: Path, n_images: int) -> Samples:
    """Images to compare on.

    Args:
        images: A folder or a glob; None for the test images of the checkpoint's run, if
            its `config.yaml` names a dataset that exists, else for drawn images.
        checkpoint: A run's folder or its file.
        n_images: At most this many, evenly spread.

    Raises:
        ConfigError: If a folder or glob holds no images.
        UnreadableImageError: If an image cannot be decoded.
    """
    if images is not None:
        paths = _list(images)
        if not paths:
            msg = f"images={images}: there are no images. Give a folder or a glob, or leave it out."
            raise ConfigError(msg)
        return Samples(images, [_decode(path) for path in _spread(paths, n_images)])
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    paths = _of_run(folder / "config.yaml")
    if paths:
        return Samples(
            "the run's test images", [_decode(path) for path in _spread(paths, n_images)]
        )
    log.warning("The run's test images are not here. Drawn ones are used; images=FOLDER is better.")
    return Samples("drawn", list(_draw(n_images)))


def _list(images: str) -> list[Path]:
    path = Path(images).expanduser()
    if path.is_dir():
        return list_images_below(path)
    found = map(Path, glob.iglob(str(path), recursive=True))  # noqa: PTH207 - no hidden files
    return sorted(path for path in found if is_image_name(path) and path.is_file())


def _of_run(config: Path) -> list[Path]:
    """The test images of a run's dataset; none if they are not there.

    Training images may lie in the subspace, and then score nothing but rounding.
    """
    if not config.is_file():
        return []
    try:
        samples = build(OmegaConf.load(config).dataset).scan().test
    except FREError as error:
        log.info("%s", error)
        return []
    return [sample.path for sample in samples]


def _spread(paths: Sequence[Path], n_images: int) -> list[Path]:
    n_images = min(n_images, len(paths))
    return [paths[i * len(paths) // n_images] for i in range(n_images)]


def _decode(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.array(to_8_bit(image).convert("RGB"))
    except DECODING_ERRORS as error:
        msg = f"{path} cannot be read as an image ({error}). Give other images=..."
        raise UnreadableImageError(msg) from error


def _draw(n_images: int) -> Iterable[NDArray[np.uint8]]:
    """Drawn parts with defects, which have the structure that noise lacks."""
    height, width = _DRAWN_SIDES
    for index in range(n_images):
        category = ("fabric", "gear", "leather", "metal")[index % 4]
        drawing = Synthetic(Path(), category, False, height, 0, 0, 0, seed=0)
        image, _ = drawing.draw("test", "good", index)
        yield np.ascontiguousarray(image[:, :width])
