"""Pixel weights that give every defect region, or every image, the same total weight."""

import numpy as np
import torch
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor

# Weights are integers, so that sums do not depend on their order. A region weighs 2^40 less at
# most its number of pixels: an error of 10^-6 even for a region of a megapixel.
_TOTAL_WEIGHT = 2**40

# Neighbours share an edge or a corner, within one image.
_NEIGHBOURS = np.zeros((3, 3, 3), dtype=bool)
_NEIGHBOURS[1] = True


def region_weights(masks: Tensor) -> Tensor:
    """Weight each defect pixel by the reciprocal size of its 8-connected region.

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
    """As `region_weights`, but with the reciprocal number of defect pixels in the image."""
    sizes = masks.flatten(1).sum(dim=1)
    return (_TOTAL_WEIGHT // sizes.clamp(min=1)).repeat_interleave(sizes)
