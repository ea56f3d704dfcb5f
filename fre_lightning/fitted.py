"""Tensors of modules: buffers that fitting fills, digests, copies that share them."""

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class FittedBuffers(nn.Module):
    """Base class for modules with buffers whose shapes are known only after fitting.

    `load_state_dict` takes the stored shapes, where a plain module refuses shapes that differ.
    """

    _fitted_names: tuple[str, ...] = ()

    def add_buffers(self, *names: str) -> None:
        """Register buffers that are empty, `(0,)`, until the module is fitted or loaded."""
        for name in names:
            self.register_buffer(name, torch.empty(0))
        self._fitted_names = (*self._fitted_names, *names)

    def add_optional_buffers(self, *names: str) -> None:
        """Register buffers that are None, and missing in the state dict, unless they are set."""
        for name in names:
            self.register_buffer(name, None)
        self._fitted_names = (*self._fitted_names, *names)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        for name in self._fitted_names:
            stored = state_dict.get(prefix + name)
            if stored is not None:
                present = self._buffers[name]
                device = stored.device if present is None else present.device
                self._buffers[name] = torch.empty_like(stored, device=device)
        super()._load_from_state_dict(state_dict, prefix, *args)


def copy_sharing_tensors(module: ModuleT) -> ModuleT:
    """A deep copy of a module that has the same parameters and buffers."""
    tensors = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


def rounded_to_half(tensor: Tensor) -> Tensor:
    """The nearest float32 values that half precision holds; those of a tensor out of its range."""
    rounded = tensor.half().float()
    return rounded if rounded.isfinite().all() else tensor.float()


def halved(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict whose float32 tensors have half precision where that holds them exactly."""
    return {
        name: value.half() if _is_of(value, torch.float32) and _fits_half(value) else value
        for name, value in state_dict.items()
    }


def unhalved(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict that was halved."""
    return {
        name: value.float() if _is_of(value, torch.float16) else value
        for name, value in state_dict.items()
    }


def _is_of(value: object, dtype: torch.dtype) -> bool:
    return isinstance(value, Tensor) and value.dtype == dtype


def _fits_half(tensor: Tensor) -> bool:
    return torch.equal(tensor.half().float(), tensor)


def state_digest(state_dict: Mapping[str, object]) -> str:
    """SHA-256 of a module's state dict, in hexadecimal; the order of its entries does not matter.

    It covers name, dtype, shape and bytes of each tensor; name and representation of extra state.
    """
    digest = hashlib.sha256()
    for name, value in sorted(state_dict.items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
            data = value.detach().cpu().contiguous().flatten()
            digest.update(data.view(torch.uint8).numpy().data)
        else:
            digest.update(f"{name} {value!r};".encode())
    return digest.hexdigest()
