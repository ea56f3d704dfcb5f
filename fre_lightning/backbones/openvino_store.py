"""OpenVINO models on disk: converting a network takes ten times as long as reading one back."""

import hashlib
import json
import logging
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import openvino as ov

from fre_lightning.files import replacing

log = logging.getLogger(__name__)

_PARTS = ("model.xml", "model.bin")


def load_or_convert(
    cache_dir: Path | None, key: Mapping[str, object], convert: Callable[[], Any]
) -> Any:
    """Read a model, or convert it and keep it for the next process.

    A model is one file, a zip archive, so that it is replaced as a whole and checks its content.

    Args:
        cache_dir: The folder in which there is one for models; None: convert and keep nothing.
        key: All that determines the model, besides OpenVINO's version; must survive JSON.
        convert: Makes the `openvino.Model`, in float32.

    Returns:
        The `openvino.Model`.
    """
    if cache_dir is None:
        return convert()
    about = json.dumps({**key, "openvino": ov.__version__}, sort_keys=True)
    path = cache_dir / "openvino" / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}.zip"
    if path.is_file():
        try:
            return _read(path)
        except (OSError, zipfile.BadZipFile, KeyError, RuntimeError) as error:
            log.warning("%s is damaged (%s): converting the network again.", path, error)
    model = convert()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, model)
    except OSError as error:
        log.warning("The converted network cannot be kept in %s (%s).", path.parent, error)
    return model


def _read(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return ov.Core().read_model(*(archive.read(part) for part in _PARTS))


def _write(path: Path, model: Any) -> None:
    with replacing(path) as temporary, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        ov.save_model(model, Path(folder) / _PARTS[0], compress_to_fp16=False)
        with zipfile.ZipFile(temporary, "w") as archive:
            for part in _PARTS:
                archive.write(Path(folder) / part, part)
