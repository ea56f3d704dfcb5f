"""A fitted detector on disk: Lightning's checkpoint, with the configuration that rebuilds it."""

import contextlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
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

_ADDED: dict[str, dict[str, Any]] = {
    "fre_lightning.scoring.Calibration": {"groups": "none"},
    "fre_lightning.backbones.Scattering": {"layers": "order2", "floor": 0.0},
    "fre_lightning.images.tiling.Tiling": {"blocks": [1, 1]},
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
    """What the file of a detector holds; Lightning adds to it."""
    config, n_train, state_dict, rate, intensity = checkpoint
    return pack_state(
        state_dict,
        config=config,
        n_train=n_train,
        false_alarm_rate=rate,
        intensity=intensity._asdict() if intensity else None,
    )


def pack_state(state_dict: Mapping[str, Any], **about: Any) -> dict[str, Any]:
    """A state dict and what is to be known of it, as plain containers, which load without code.

    Tensors that half precision holds exactly (`Reducer.round_weights` makes it so) are stored so.
    """
    state_dict = halved(state_dict)
    about |= {
        "format": FORMAT,
        "versions": {"fre_lightning": __version__, "torch": str(torch.__version__)},
        "weights_sha256": state_digest(state_dict),
    }
    return {"state_dict": state_dict, PAYLOAD_KEY: about}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint.

    Raises:
        OutputError: If it cannot be written.
    """
    write_payload(path, pack(checkpoint))


def write_payload(path: Path, content: Mapping[str, Any]) -> None:
    """Write what a file holds: a state dict, and our part under `PAYLOAD_KEY`.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            torch.save(content, temporary)
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
    with explaining(path):
        about, state_dict = read_payload(path, DETECTOR_GROUPS)
        return Checkpoint(
            about["config"],
            about["n_train"],
            state_dict,
            about["false_alarm_rate"],
            Intensity.from_dict(about.get("intensity")),
        )


def task_of(path: str | Path) -> str | None:
    """The task of a checkpoint, as of `read_payload`; None also of what is no checkpoint."""
    with contextlib.suppress(Exception):  # whoever reads it will tell
        content = torch.load(_find(path), map_location="meta", weights_only=True, mmap=True)
        task: str | None = content[PAYLOAD_KEY].get("task")
        return task
    return None


def _find(path: str | Path) -> Path:
    """The file, if the path is its run's folder."""
    path = Path(path).expanduser()
    return path / FILE_NAME if path.is_dir() else path


@contextlib.contextmanager
def explaining(path: str | Path) -> Iterator[None]:
    """Turn whatever damaged files raise into a `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # torch raises all kinds on damaged files
        msg = (
            f"{path} is not a checkpoint that fre_lightning can load "
            f"({type(error).__name__}). Give the {FILE_NAME} of a finished run."
        )
        raise CheckpointError(msg) from error


def read_payload(
    path: str | Path, groups: Sequence[str], task: str | None = None
) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """Our part of a checkpoint, and its state dict, both checked.

    Args:
        path: The file, or the folder of the run that wrote it.
        groups: The configuration groups that it must have.
        task: That it is of; None: of a detector of defects.

    Raises:
        CheckpointError: As `read_checkpoint`; other errors of damaged files as they are.
    """
    path = _find(path)
    if not path.is_file():
        msg = f"There is no checkpoint {path}. Give a run's folder or its {FILE_NAME}."
        raise CheckpointError(msg)
    content = torch.load(path, map_location="cpu", weights_only=True)
    about, state_dict = content[PAYLOAD_KEY], content["state_dict"]
    if about.get("task") != task:
        msg = (
            f"{path} was written by a command for another task ({about.get('task') or 'defects'}), "
            "which this one is not for; predict, serve, export and fre_lightning.load take it."
        )
        raise CheckpointError(msg)
    _check_format(path, about)
    config = {group: _checked(path, about["config"][group]) for group in groups}
    if state_digest(state_dict) != about["weights_sha256"]:
        msg = f"{path} is damaged: its weights are not those that were written. Copy it again."
        raise CheckpointError(msg)
    return about | {"config": config}, unhalved(state_dict)


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
    """Whether this package defines an `nn.Module` of this dotted name that runs no foreign code."""
    package, _, name = str(target).rpartition(".")
    if package.partition(".")[0] != "fre_lightning" or "__" in package:
        return False
    try:
        kind = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError):
        return False
    is_module = isinstance(kind, type) and issubclass(kind, nn.Module)
    is_module = is_module and not getattr(kind, "runs_code", False)
    return is_module and kind.__module__.partition(".")[0] == "fre_lightning"
