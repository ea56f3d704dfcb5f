"""Images to compare an exported file on: the user's, the run's own, or drawn ones."""

import glob
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from fre_lightning.config import build_stored
from fre_lightning.datasets import Synthetic
from fre_lightning.datasets.listing import is_image_name, list_images_below
from fre_lightning.errors import ConfigError, FREError, UnreadableImageError
from fre_lightning.export.base import Images
from fre_lightning.images.decoding import DECODING_ERRORS, decode_file
from fre_lightning.images.intensity import Intensity, in_units, to_levels
from fre_lightning.images.reading import reason_of

log = logging.getLogger(__name__)

_DRAWN_SIDES = (300, 260)


def load_samples(
    images: str | None, checkpoint: Path, n_images: int, intensity: Intensity | None = None
) -> tuple[str, list[Images]]:
    """Load images to compare on.

    Args:
        images: A folder or a glob; None for the test images of the checkpoint's run, if
            its `config.yaml` names a dataset that exists, else for drawn images.
        checkpoint: A run's folder or its file.
        n_images: At most this many, evenly spread.
        intensity: The detector's range of levels.

    Returns:
        Their origin, for the report, and the images: `(H, W, 3)` each, RGB; uint8, or float32 in
        the files' units if there is a range of levels.

    Raises:
        ConfigError: If a folder or glob holds no images.
        UnreadableImageError: If an image cannot be decoded.
    """
    if images is not None:
        source, paths = images, _find_images(images)
        if not paths:
            msg = f"images={images}: there are no images. Give a folder or a glob, or leave it out."
            raise ConfigError(msg)
    else:
        folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
        source, paths = "the run's test images", _test_images(folder / "config.yaml")
    if not paths:
        log.warning("The run's test images are missing. Using drawn ones; images=FOLDER is better.")
        drawn = [_draw(index) for index in range(n_images)]
        return "drawn", [in_units(image, intensity) if intensity else image for image in drawn]
    n_images = min(n_images, len(paths))
    return source, [_decode(paths[i * len(paths) // n_images], intensity) for i in range(n_images)]


def _find_images(images: str) -> list[Path]:
    path = Path(images).expanduser()
    if path.is_dir():
        return list_images_below(path)
    found = map(Path, glob.iglob(str(path), recursive=True))  # noqa: PTH207 - no hidden files
    return sorted(path for path in found if is_image_name(path) and path.is_file())


def _test_images(config: Path) -> list[Path]:
    """The test images of a run's dataset; none if they are missing.

    Training images would not do: they may lie in the subspace, where scores are rounding errors.
    """
    if not config.is_file():
        return []
    try:
        stored = OmegaConf.load(config)
        if "known" in stored:  # a run of fre_lightning.ood
            return [sample.path for sample in build_stored("known", stored).scan().test.samples]
        return [sample.path for sample in build_stored("dataset", stored).scan().test]
    except FREError as error:
        log.info("%s", error)
        return []


def _decode(path: Path, intensity: Intensity | None) -> Images:
    try:
        values = decode_file(path)
        values = to_levels(values, None, str(path)) if intensity is None else values
        values = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
        return in_units(values, intensity) if intensity else values
    except DECODING_ERRORS as error:
        msg = f"{path} cannot be read as an image ({reason_of(error)}). Give other images=..."
        raise UnreadableImageError(msg) from error


def _draw(index: int) -> NDArray[np.uint8]:
    """Draw a part, which has the structure that noise lacks."""
    height, width = _DRAWN_SIDES
    category = ("fabric", "gear", "leather", "metal")[index % 4]
    drawing = Synthetic(Path(), category, False, "auto", None, height, 0, 0, 0, seed=0)
    image, _ = drawing.draw("test", "good", index)
    return np.ascontiguousarray(image[:, :width])
