"""Modules whose buffers get their shapes from what they learn."""

import torch
from torch import Tensor, nn


class LearntBuffers(nn.Module):
    """Base of modules with buffers that are empty until fitted, and then of any shape.

    `load_state_dict` takes the stored shapes, where it would refuse shapes other than the present.
    """

    def add_learnt(self, *names: str) -> None:
        """Register empty buffers."""
        for name in names:
            self.register_buffer(name, torch.empty(0))
        self._learnt_names = names

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        for name in self._learnt_names:
            stored = state_dict.get(prefix + name)
            if stored is not None:
                self._buffers[name] = torch.empty_like(stored, device=self.get_buffer(name).device)
        super()._load_from_state_dict(state_dict, prefix, *args)
