"""Fusion of the maps of several layers into one."""

from collections.abc import Callable, Sequence

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


def learn_shares(
    maps: Sequence[Tensor],
    owners: Sequence[int],
    weights: Sequence[Tensor] | None,
    score: Callable[[Tensor], Tensor],
) -> Tensor:
    """The shares of layers that are fused by `spread`, see `Scoring`.

    Args:
        maps: Held-out maps of normal images, `(N, h, w)` of each layer.
        owners: The number of each layer's backbone.
        weights: As of `fuse`.
        score: Image scores `(N,)` of fused maps.

    Returns:
        `(n_layers,)` of mean 1.
    """
    sides = torch.tensor([m[0].numel() ** 0.5 for m in maps], device=maps[0].device)
    shares = torch.zeros_like(sides)
    for owner in set(owners):
        own = sides * sides.new_tensor([other == owner for other in owners])
        spread = score(fuse(maps, own / own.sum(), "mean", weights)).std()
        shares += own / own.sum() / spread.clamp(min=_LEAST)
    return shares / shares.mean()
