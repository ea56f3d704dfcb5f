"""Weights of torchvision networks: from a file or a download, checked to fit."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torchvision.models import get_model_weights

from fre_lightning.errors import BackboneError

RANDOM = "random"


def load_state(name: str, weights: str, needed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read or download the weights of a network, or of its first layers.

    Args:
        name: The network's name in torchvision.
        weights: A name of torchvision's such as IMAGENET1K_V1; or a `.pth` or `.safetensors` file.
        needed: The state dict that is to be filled.

    Returns:
        A state dict with the names and shapes of `needed`.

    Raises:
        BackboneError: If the weights cannot be downloaded or read, or belong to another network.
    """
    is_file = weights.endswith((".pth", ".pt", ".safetensors"))
    state = _read(Path(weights).expanduser()) if is_file else _download(name, weights)
    misfit = _find_misfit(needed, state)
    if misfit:
        msg = (
            f"model.weights={weights} does not fit {name}: {misfit}. "
            f"It looks like weights of another network; give a file of torchvision's {name}."
        )
        raise BackboneError(msg)
    return {key: state.get(key, value) for key, value in needed.items()}


def _read(path: Path) -> Mapping[str, Tensor]:
    """A state dict from a file, without running any code that the file may hold."""
    if not path.is_file():
        msg = f"There is no weights file {path}. Correct model.weights, or see the README's list."
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


def _download(name: str, weights: str) -> Mapping[str, Tensor]:
    """Torchvision's own weights, from its download cache or from the network."""
    available = get_model_weights(name)
    if weights not in available.__members__:
        msg = (
            f"torchvision has no weights {weights} for {name}; it has "
            f"{', '.join(available.__members__)}. "
            "model.weights also takes a .pth or .safetensors file, or random."
        )
        raise BackboneError(msg)
    entry = available[weights]
    try:
        state: Mapping[str, Tensor] = entry.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        file_name = entry.url.rsplit("/", 1)[-1]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        msg = (
            f"The weights {weights} of {name} cannot be downloaded ({error}). Download "
            f"{entry.url} where there is a network, then put it at {folder / file_name} or set "
            "model.weights=FILE. Without any weights, use model=scattering."
        )
        raise BackboneError(msg) from error
    return state


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
