"""Weights that give every defect, or every image, the same say however many pixels it has."""

import numpy as np
import torch
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor

# Weights are integers, so that a sum over processes doesn't depend on its order. A region weighs
# 2^40 less a rounding of at most its size: 10^-6 of it even where a megapixel is defective.
_TOTAL_WEIGHT = 2**40

# Pixels touch at edges and corners, but not across images.
_NEIGHBOURS = np.zeros((3, 3, 3), dtype=bool)
_NEIGHBOURS[1] = True


def region_weights(masks: Tensor) -> Tensor:
    """Weigh each defect pixel by the reciprocal size of its 8-connected region.

    Args:
        masks: `(N, H, W)` bool.

    Returns:
        `(M,)` int64 for the M true pixels, in the order of `masks.nonzero()`.
    """
    on_cpu = masks.cpu().numpy()
    regions, _ = ndimage.label(on_cpu, structure=_NEIGHBOURS)
    owners = torch.from_numpy(regions[on_cpu])
    sizes = torch.bincount(owners).clamp(min=1)
    return (_TOTAL_WEIGHT // sizes)[owners].to(masks.device)


def image_weights(masks: Tensor) -> Tensor:
    """Weigh each defect pixel by the reciprocal number of defect pixels of its image.

    Args:
        masks: `(N, H, W)` bool.

    Returns:
        `(M,)` int64 for the M true pixels, in the order of `masks.nonzero()`.
    """
    sizes = masks.flatten(1).sum(dim=1)
    return (_TOTAL_WEIGHT // sizes.clamp(min=1)).repeat_interleave(sizes)
