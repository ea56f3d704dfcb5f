"""The range of levels of a training set, recognised from its files or chosen by the user."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fre_lightning.errors import ConfigError
from fre_lightning.files import file_key, mark_used, write_json
from fre_lightning.images.decoding import DECODING_ERRORS, decode_file
from fre_lightning.images.header import Header
from fre_lightning.images.intensity import Intensity
from fre_lightning.progress import progress
from fre_lightning.threads import map_ahead, thread_pool

log = logging.getLogger(__name__)

_SENSOR_BITS = (8, 10, 12, 14, 16)
_MOST_VALUES = 2**23
"""Values of all images together that percentiles are found from, evenly spread."""


class _Levels(NamedTuple):
    """The lowest and the highest value of an image, and an even sample of all."""

    low: float
    high: float
    sample: np.ndarray
    is_float: bool


def find_intensity(
    setting: object,
    paths: Sequence[Path],
    headers: Sequence[Header | None],
    root: Path,
    n_threads: int,
    cache_dir: Path,
) -> Intensity | None:
    """Find the range of levels of training images.

    Args:
        setting: `dataset.intensity`: `auto`, `[low, high]`, or `{percentile: [a, b]}`.
        paths: The training images. Those that cannot be read are passed over.
        headers: Theirs, from `read_headers`.
        root: The folder that their names are relative to.
        n_threads: Threads that decode.
        cache_dir: Where what was found is kept.

    Returns:
        The range; None for images of 8 bits of which none was given.

    Raises:
        ConfigError: If the setting is none of these, or `auto` recognises no range.
    """
    if setting == "auto":
        deep = [i for i, header in enumerate(headers) if header is not None and header.is_deep]
        if not deep:
            return None
        if len(deep) < len(paths):
            log.warning(
                "%d of the %d training images have 8 bits, and are read as they are beside deeper "
                "ones: has one kind been converted?",
                len(paths) - len(deep),
                len(paths),
            )
        chosen = [paths[i] for i in deep]
        key = _key("auto", chosen, root)
        return _kept(key, cache_dir) or _keep(_recognise(chosen, n_threads), key, cache_dir)
    if isinstance(setting, Mapping) and set(setting) == {"percentile"}:
        ends = _two_numbers(setting["percentile"], setting)
        if not 0 <= ends[0] < ends[1] <= 100:
            raise _wrong(setting)
        key = _key(ends, paths, root)
        return _kept(key, cache_dir) or _keep(_measure(paths, ends, n_threads), key, cache_dir)
    low, high = _two_numbers(setting, setting)
    return Intensity(low, high, deep_only=False)


def _recognise(paths: Sequence[Path], n_threads: int) -> Intensity:
    """The range of the sensor that took deep images."""
    found = _read_levels(paths, n_threads)
    low, high = min(part.low for part in found), max(part.high for part in found)
    if all(part.is_float for part in found) and low >= 0 and high <= 1:
        return Intensity(0.0, 1.0, deep_only=True)
    bits = next((bits for bits in _SENSOR_BITS if high < 2**bits), None)
    if bits is None or low < 0:
        msg = (
            f"The training images hold values of {low:g} to {high:g}, which is the range of no "
            f"known sensor. Set it, for example dataset.intensity=[{low:g},{high:g}], or leave out "
            "what few pixels reach: 'dataset.intensity={percentile: [0.1, 99.9]}'."
        )
        raise ConfigError(msg)
    log.info(
        "Levels of %d bits: the highest of %d training images is %g, so that 0 to %d becomes 0 to "
        "255 (dataset.intensity)",
        bits,
        len(paths),
        high,
        2**bits - 1,
    )
    return Intensity(0.0, 2.0**bits - 1, deep_only=True)


def _measure(paths: Sequence[Path], ends: tuple[float, float], n_threads: int) -> Intensity:
    """The levels that these shares of all pixels of the images do not exceed."""
    parts = [part.sample for part in _read_levels(paths, n_threads)]
    low, high = np.percentile(np.concatenate(parts), ends).tolist()
    if not low < high:
        msg = f"dataset.intensity: both percentiles are {low:g}. Choose others, or [low, high]."
        raise ConfigError(msg)
    log.info("Levels of %g to %g become 0 to 255 (dataset.intensity)", low, high)
    return Intensity(low, high, deep_only=False)


def _read_levels(paths: Sequence[Path], n_threads: int) -> list[_Levels]:
    most = max(1, _MOST_VALUES // len(paths))

    def read(path: Path) -> _Levels | None:
        try:
            values = decode_file(path)
        except DECODING_ERRORS:
            return None
        flat = values[np.isfinite(values)]
        if not flat.size:
            return None
        sample = flat[:: -(-flat.size // most)].astype(np.float32)
        return _Levels(float(flat.min()), float(flat.max()), sample, values.dtype.kind == "f")

    with thread_pool(n_threads, "levels") as pool:
        levels = map_ahead(pool, read, paths, 4 * n_threads)
        found = [part for part in progress(levels, "Levels", len(paths)) if part]
    if not found:
        msg = "No training image can be read, so that dataset.intensity cannot be found."
        raise ConfigError(msg)
    return found


def _two_numbers(value: Any, setting: object) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError) as error:
        raise _wrong(setting) from error
    if not low < high:
        raise _wrong(setting)
    return low, high


def _wrong(setting: object) -> ConfigError:
    return ConfigError(
        f"dataset.intensity={setting} is neither auto, nor two ascending levels such as [0,4095], "
        "nor two percentiles such as {percentile: [0.1, 99.9]}."
    )


def _key(setting: object, paths: Sequence[Path], root: Path) -> str:
    content = json.dumps([setting, *(file_key(path, root) for path in paths)])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _kept(key: str, cache_dir: Path) -> Intensity | None:
    """What was found before for the same files; nothing if that cannot be read."""
    path = _path(key, cache_dir)
    try:
        intensity = Intensity.from_dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    mark_used(path)
    return intensity


def _path(key: str, cache_dir: Path) -> Path:
    return cache_dir / "intensity" / f"{key}.json"


def _keep(intensity: Intensity, key: str, cache_dir: Path) -> Intensity:
    path = _path(key, cache_dir)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, intensity._asdict())
    except OSError as error:
        log.info("The range of levels is not kept: %s", error)
    return intensity
