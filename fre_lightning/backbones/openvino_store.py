"""OpenVINO models on disk: reading one takes a tenth of the time of converting its network."""

import hashlib
import json
import logging
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fre_lightning.files import mark_used, replacing

log = logging.getLogger(__name__)

_PARTS = ("model.xml", "model.bin")


def import_openvino() -> Any:  # the module has no types
    """Import `openvino` without its telemetry, which forks and connects to the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def load_or_convert(
    cache_dir: Path | None, key: Mapping[str, object], convert: Callable[[], Any]
) -> Any:
    """Read a converted network, or convert it and store it for the next process.

    A model is stored as one zip archive, which is replaced as a whole and has a checksum.

    Args:
        cache_dir: Models are stored in its folder `openvino`; None: nothing is read or stored.
        key: Everything that determines the model, besides OpenVINO's version; must survive JSON.
        convert: Makes the `openvino.Model`, in float32.

    Returns:
        The `openvino.Model`.
    """
    if cache_dir is None:
        return convert()
    version = import_openvino().__version__
    about = json.dumps({**key, "openvino": version}, sort_keys=True)
    path = cache_dir / "openvino" / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}.zip"
    if path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                model = import_openvino().Core().read_model(*map(archive.read, _PARTS))
            mark_used(path)
            return model
        except (OSError, zipfile.BadZipFile, KeyError, RuntimeError) as error:
            log.warning("%s is damaged (%s): converting the network again.", path, error)
    model = convert()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, model)
    except OSError as error:
        log.warning("The converted network cannot be kept in %s (%s).", path.parent, error)
    return model


def _write(path: Path, model: Any) -> None:
    with replacing(path) as temporary, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        import_openvino().save_model(model, Path(folder) / _PARTS[0], compress_to_fp16=False)
        with zipfile.ZipFile(temporary, "w") as archive:
            for part in _PARTS:
                archive.write(Path(folder) / part, part)
