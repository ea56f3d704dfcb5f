"""A fitted detector on disk: Lightning's checkpoint, with the configuration that rebuilds it."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import fre_lightning
from fre_lightning.errors import CheckpointError

KEY = "fre_lightning"
FILE_NAME = "model.ckpt"
DETECTOR_GROUPS = ("model", "reducer", "scoring", "calibration", "tiling")
"""The configuration groups that make up a detector, and that its checkpoint brings along."""


class Checkpoint(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        config: The groups that make up a detector, resolved, that rebuild the module.
        n_train: How many images it was fitted on.
        state_dict: The module's parameters and buffers.
    """

    config: Mapping[str, Any]
    n_train: int
    state_dict: Mapping[str, Tensor]


def describe(config: Mapping[str, Any], n_train: int) -> dict[str, object]:
    """What a module adds to Lightning's checkpoint; plain containers, which load without code."""
    return {"version": fre_lightning.__version__, "config": config, "n_train": n_train}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint without running any code that it may hold.

    Args:
        path: The file, or the folder of the run that wrote it.

    Raises:
        CheckpointError: If there is none, or it is not one of this program's.
    """
    path = Path(path).expanduser()
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        msg = f"There is no checkpoint {path}. Give a run's folder or its {FILE_NAME}."
        raise CheckpointError(msg)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        about = content[KEY]
        config = {group: about["config"][group] for group in DETECTOR_GROUPS}
        return Checkpoint(config, about["n_train"], content["state_dict"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, OSError) as error:
        msg = (
            f"{path} is not a checkpoint that fre_lightning can load "
            f"({type(error).__name__}). Give the {FILE_NAME} of a finished run."
        )
        raise CheckpointError(msg) from error
