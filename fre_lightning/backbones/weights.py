"""Weights of networks: from a file or found by their name, checked to fit."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from fre_lightning.errors import BackboneError

RANDOM = "random"
PRETRAINED = "pretrained"
"""The weights of networks that have but one set of them."""


def load_state(
    name: str,
    weights: str,
    known: Sequence[str],
    find: Callable[[Mapping[str, Tensor] | None], Mapping[str, Tensor]],
    needed: Mapping[str, Tensor],
    group: str,
) -> dict[str, Tensor]:
    """Read or find the weights of a network, or of its first layers.

    Args:
        name: The network's name.
        weights: A known name; or a `.pth` or `.safetensors` file.
        known: The names that `find` finds.
        find: Gives the weights of `weights`, from the content of the file if it is one, else None.
        needed: The state dict that is to be filled.
        group: The configuration group with the setting `weights`, for messages.

    Returns:
        A state dict with the names and shapes of `needed`.

    Raises:
        BackboneError: If the weights cannot be found or read, or belong to another network.
    """
    if not is_weights_file(weights) and weights not in known:
        msg = (
            f"There are no weights {weights} of {name}; there are {', '.join(known)}. "
            f"{group}.weights also takes a .pth or .safetensors file, or random."
        )
        raise BackboneError(msg)
    state = find(read_state(Path(weights), group) if is_weights_file(weights) else None)
    misfit = _find_misfit(needed, state)
    if misfit:
        msg = (
            f"{group}.weights={weights} does not fit {name}: {misfit}. "
            f"It looks like weights of another network; give a file of {name}."
        )
        raise BackboneError(msg)
    return {key: state.get(key, value) for key, value in needed.items()}


def is_weights_file(weights: str) -> bool:
    """Whether weights are meant as a file."""
    return weights.endswith((".pth", ".pt", ".safetensors"))


def read_state(path: Path, group: str) -> Mapping[str, Tensor]:
    """A state dict from a file, without running any code that the file may hold.

    Args:
        path: The file.
        group: As of `load_state`.

    Raises:
        BackboneError: If it is missing or holds no weights.
    """
    path = path.expanduser()
    if not path.is_file():
        msg = f"There is no weights file {path}. Correct {group}.weights, or leave it out."
        raise BackboneError(msg)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = (
            f"{path} cannot be read as weights ({reason}). It must be a .safetensors file, or a "
            ".pth file that torch.save wrote of a plain state dict."
        )
        raise BackboneError(msg) from error
    if isinstance(content, Mapping):  # training programs wrap the state dict
        content = content.get("state_dict", content.get("model", content))
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        msg = f"{path} holds no state dict (names of parameters with tensors)."
        raise BackboneError(msg)
    return {key.removeprefix("module."): value for key, value in content.items()}


def _find_misfit(needed: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    """Whether a state dict lacks a tensor of `needed`, or has one of another shape."""
    missing = [k for k in needed if k not in state and not k.endswith("num_batches_tracked")]
    if missing:
        return (
            f"{len(missing)} of the {len(needed)} tensors that the chosen layers need are missing, "
            f"{missing[0]} the first"
        )
    for key, value in needed.items():
        if key in state and state[key].shape != value.shape:
            return f"{key} is {tuple(state[key].shape)} where it has {tuple(value.shape)}"
    return None
