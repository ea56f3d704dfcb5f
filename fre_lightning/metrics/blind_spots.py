"""Where a detector is blind: the smallest contrast of a spot that it would notice, by position.

A spot is laid on a good image, at each position in turn, and its contrast is searched by halving:
from some contrast on, the image's score exceeds the threshold.
"""

from collections.abc import Callable

import torch
from torch import Tensor

CONTRASTS = tuple(2.0 ** (step / 2) for step in range(2, 17))
"""Levels of 255 that are told apart: 2 to 256, half a stop between neighbours."""
N_CELLS = 8  # positions along each side
SPOT = 1 / 32
"""Diameter of the spot, as a share of the image's shorter side."""
_BATCH_SIZE = 32


def find_blind_spots(
    score: Callable[[Tensor], Tensor], image: Tensor, threshold: float, n_cells: int = N_CELLS
) -> Tensor:
    """The smallest contrast of a spot that lifts the score of an image above the threshold.

    The spot is darker where the image is bright, and brighter where it is dark. That stronger spots
    have higher scores is assumed.

    Args:
        score: From `(n, 3, H, W)` uint8 to scores `(n,)`.
        image: `(3, H, W)` uint8, a good one whose score lies below the threshold.
        threshold: Above which an image is called defective.
        n_cells: Positions along each side.

    Returns:
        `(n_cells, n_cells)`, each one of `CONTRASTS`, or infinite where none is noticed.
    """
    spots = draw_spots(image.shape[-2], image.shape[-1], n_cells).to(image.device)
    contrasts = torch.tensor([*CONTRASTS, torch.inf])
    return contrasts[_search(score, image.float(), spots, threshold)].reshape(n_cells, n_cells)


def draw_spots(height: int, width: int, n_cells: int) -> Tensor:
    """A spot in the middle of each cell: `(n_cells^2, H, W)`, 1 within and smooth at its edge."""
    radius = min(height, width) * SPOT / 2
    y, x = (torch.arange(n) + 0.5 for n in (height, width))
    at_y, at_x = ((torch.arange(n_cells) + 0.5) * n / n_cells for n in (height, width))
    squares = (y - at_y[:, None]).square()[:, None, :, None] + (x - at_x[:, None]).square()[:, None]
    return (radius + 0.5 - squares.sqrt()).clamp(0, 1).flatten(0, 1)


def _search(
    score: Callable[[Tensor], Tensor], image: Tensor, spots: Tensor, threshold: float
) -> Tensor:
    """The index of the first contrast that is noticed for each spot, or their number."""
    levels = (spots * image.mean(dim=0)).sum(dim=(1, 2)) / spots.sum(dim=(1, 2))
    signs = torch.where(levels >= 127.5, -1.0, 1.0)
    low = torch.zeros(len(spots), dtype=torch.long)
    high = torch.full_like(low, len(CONTRASTS))
    contrasts = torch.tensor(CONTRASTS)
    while bool((low < high).any()):
        middle = (low + high) // 2
        steps = contrasts[middle.clamp(max=len(CONTRASTS) - 1)].to(image.device) * signs
        scores = [
            score((image + one[:, None, None, None] * spot[:, None]).round().clamp(0, 255).byte())
            for one, spot in zip(
                *(torch.split(t, _BATCH_SIZE) for t in (steps, spots)), strict=True
            )
        ]
        is_noticed = (torch.cat(scores) > threshold).cpu()
        is_open = low < high
        high = torch.where(is_open & is_noticed, middle, high)
        low = torch.where(is_open & ~is_noticed, middle + 1, low)
    return low
