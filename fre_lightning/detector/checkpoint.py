"""A fitted detector on disk: Lightning's checkpoint, with the configuration that rebuilds it."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fre_lightning.errors import CheckpointError, OutputError
from fre_lightning.files import replacing
from fre_lightning.fitted import halved, state_digest, unhalved
from fre_lightning.images.intensity import Intensity
from fre_lightning.version import __version__

PAYLOAD_KEY = "fre_lightning"
FILE_NAME = "model.ckpt"
FORMAT = 4
"""Number of the checkpoint's layout; to be raised when an older reader could misread it."""
_READ_FORMATS = (2, 3, FORMAT)
DETECTOR_GROUPS = ("model", "reducer", "scoring", "calibration", "tiling")
"""The configuration groups of a detector, which its checkpoint contains."""

_MOVED = {
    "fre_lightning.calibration.Calibration": "fre_lightning.scoring.Calibration",
    "fre_lightning.tiling.Tiling": "fre_lightning.images.tiling.Tiling",
    "fre_lightning.backbones.Together": "fre_lightning.backbones.CombinedBackbone",
}
"""Classes in older checkpoints, and where they are now."""

_ADDED = {
    "fre_lightning.scoring.Calibration": {"groups": "none"},
    "fre_lightning.backbones.Scattering": {"layers": "order2"},
}
"""Settings that older checkpoints lack, by class, and what they did without them."""


class Checkpoint(NamedTuple):
    """The content of a checkpoint.

    Attributes:
        config: The resolved configuration by group (`DETECTOR_GROUPS`).
        n_train: The number of images that the model was fitted on.
        state_dict: The model's parameters and buffers.
        false_alarm_rate: The run's; a detector's default.
        intensity: The range of levels of the training images; None for images of 8 bits.
    """

    config: Mapping[str, Any]
    n_train: int
    state_dict: Mapping[str, Tensor]
    false_alarm_rate: float
    intensity: Intensity | None


def pack(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a file holds, as plain containers, which load without code; Lightning adds to it.

    Tensors that half precision holds exactly (`Reducer.round_weights` makes it so) are
    stored so.
    """
    config, n_train, state_dict, rate, intensity = checkpoint
    state_dict = halved(state_dict)
    about = {
        "format": FORMAT,
        "versions": {"fre_lightning": __version__, "torch": str(torch.__version__)},
        "config": config,
        "n_train": n_train,
        "false_alarm_rate": rate,
        "intensity": intensity._asdict() if intensity else None,
        "weights_sha256": state_digest(state_dict),
    }
    return {"state_dict": state_dict, PAYLOAD_KEY: about}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            torch.save(pack(checkpoint), temporary)
    except (OSError, RuntimeError) as error:  # torch raises the second if a folder is missing
        msg = f"{path} cannot be written ({error}). Choose another place."
        raise OutputError(msg) from error


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint without running any code that it may hold.

    Args:
        path: The file, or the folder of the run that wrote it.

    Raises:
        CheckpointError: If it is missing, damaged, of another format or of another program.
    """
    path = Path(path).expanduser()
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        msg = f"There is no checkpoint {path}. Give a run's folder or its {FILE_NAME}."
        raise CheckpointError(msg)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        about, state_dict = content[PAYLOAD_KEY], content["state_dict"]
        _check_format(path, about)
        config = {group: _checked(path, about["config"][group]) for group in DETECTOR_GROUPS}
        if state_digest(state_dict) != about["weights_sha256"]:
            msg = f"{path} is damaged: its weights are not those that were written. Copy it again."
            raise CheckpointError(msg)
        return Checkpoint(
            config,
            about["n_train"],
            unhalved(state_dict),
            about["false_alarm_rate"],
            Intensity.from_dict(about.get("intensity")),
        )
    except CheckpointError:
        raise
    except Exception as error:  # torch raises all kinds on damaged files
        msg = (
            f"{path} is not a checkpoint that fre_lightning can load "
            f"({type(error).__name__}). Give the {FILE_NAME} of a finished run."
        )
        raise CheckpointError(msg) from error


def _check_format(path: Path, about: Mapping[str, Any]) -> None:
    found = about.get("format")
    if found in _READ_FORMATS:
        return
    writer = about.get("versions", about).get("fre_lightning", about.get("version", "unknown"))
    *older, newest = _READ_FORMATS
    readable = f"{', '.join(map(str, older))} and {newest}"
    msg = (
        f"{path} has checkpoint format {found} (written by fre_lightning {writer}); this is "
        f"fre_lightning {__version__}, which reads formats {readable}. "
        "Fit the detector again, or use the version that wrote it."
    )
    raise CheckpointError(msg)


def _checked(path: Path, node: Any) -> Any:
    """A configuration with present names and settings, if it calls this package's modules only.

    Hydra calls whatever `_target_` names, `os.system` too, and resolves `${oc.env:...}`.
    """
    if isinstance(node, Mapping):
        checked = {key: _checked(path, value) for key, value in node.items()}
        if "_target_" in checked and not _is_own_module(checked["_target_"]):
            msg = (
                f"{path} asks to run {checked['_target_']}, which is no part of a detector. "
                "It was not run. Do not trust this file."
            )
            raise CheckpointError(msg)
        return _ADDED.get(checked.get("_target_", ""), {}) | checked
    if isinstance(node, list | tuple):
        return [_checked(path, value) for value in node]
    if isinstance(node, str) and "${" in node:
        msg = f"{path} holds an unresolved configuration ({node}). Do not trust this file."
        raise CheckpointError(msg)
    return _MOVED.get(node, node) if isinstance(node, str) else node


def _is_own_module(target: object) -> bool:
    """Whether this package defines an `nn.Module` of this dotted name."""
    package, _, name = str(target).rpartition(".")
    if package.partition(".")[0] != "fre_lightning" or "__" in package:
        return False
    try:
        kind = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError):
        return False
    is_module = isinstance(kind, type) and issubclass(kind, nn.Module)
    return is_module and kind.__module__.partition(".")[0] == "fre_lightning"
