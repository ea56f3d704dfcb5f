"""Fusion of the maps of several layers into one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fre_lightning.images.resizing import resize_map

_LEAST = 1e-6  # divisors that are 0 where nothing counts


def finest(maps: Sequence[Tensor]) -> Tensor:
    """The first of the largest maps `(..., h, w)`."""
    return max(maps, key=lambda m: m.shape[-2] * m.shape[-1])


def fuse(
    maps: Sequence[Tensor], shares: Tensor, fusion: str, weights: Sequence[Tensor] | None
) -> Tensor:
    """Resize maps to the size of the largest, and fuse them.

    Args:
        maps: `(N, h, w)` of each layer.
        shares: `(n_layers,)`, by which the maps are multiplied.
        fusion: `max` of the maps, or else their sum.
        weights: `(N, h, w)` or `(1, h, w)` of each layer, the weights of its cells; None if all
            count.

    Returns:
        `(N, h, w)`.
    """
    height, width = finest(maps).shape[1:]
    stack = torch.stack([resize_map(m, (height, width)) for m in maps])
    if weights is not None:
        # Cells that do not count must not lower what lies beside them.
        counts = [(layer > 0).to(stack) for layer in weights]
        reach = torch.stack([resize_map(layer, (height, width)) for layer in counts])
        stack = stack / reach.clamp(min=_LEAST) * finest(counts)
    stack = stack * shares.to(stack).view(-1, 1, 1, 1)
    return stack.amax(dim=0) if fusion == "max" else stack.sum(dim=0)
