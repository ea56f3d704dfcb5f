"""How much images resemble each other: cosines of their centred features."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.features.matrix import FeatureMatrix

MOST_COMPARED = 4000
"""The most images that are compared each with each."""

_MOST_READ, _N_STRIPES = 2**23, 16  # values that similarities take, and where they are read
_STRANGERS = 0.99


def directions(*groups: Sequence[FeatureMatrix]) -> list[Tensor]:
    """Unit vectors of the features of groups of images, centred on the mean of the first group.

    Args:
        groups: For each group, features `(N, D)` of each part of its images (tile). As many
            columns are read as it takes to compare the images of the first group.

    Returns:
        `(N, d)` float32 for each group.
    """
    n_images, n_features = groups[0][0].shape
    width = max(1, _MOST_READ // (n_images * len(groups[0]) * _N_STRIPES))
    edges = [n_features * i // _N_STRIPES for i in range(_N_STRIPES + 1)]
    stripes = [slice(a, min(b, a + width)) for a, b in pairwise(edges) if a < b]
    read = [
        torch.cat([part.block(slice(None), stripe) for part in parts for stripe in stripes], dim=1)
        for parts in groups
    ]
    mean = read[0].mean(dim=0)
    return [F.normalize(values - mean, dim=1) for values in read]


def near_copy_bound(rows: Tensor) -> float:
    """The cosine from which two images show the same thing.

    It lies halfway between that of a copy and that which 99 % of all pairs of images stay below,
    so that it adapts to backbones and to parts that all lie alike.

    Args:
        rows: `(N, d)`, from `directions`, N at least 2.
    """
    chosen = rows[:: -(-len(rows) // MOST_COMPARED)]
    above = torch.triu_indices(len(chosen), len(chosen), 1)
    pairs = (chosen @ chosen.T)[above[0], above[1]]
    return (1 + float(np.quantile(pairs.numpy(), _STRANGERS))) / 2


def nearest(rows: Tensor, others: Tensor, *, is_same: bool = False) -> tuple[Tensor, Tensor]:
    """The most similar image among others.

    Args:
        rows: `(n, d)`, from `directions`.
        others: `(m, d)`.
        is_same: Whether both are the same images, none of which counts as its own neighbour.

    Returns:
        Cosines `(n,)` and indices in `others` `(n,)`.
    """
    cosines, indices = [], []
    for start in range(0, len(rows), 1024):
        block = rows[start : start + 1024] @ others.T
        if is_same:
            block[range(len(block)), range(start, start + len(block))] = -1
        found = block.max(dim=1)
        cosines.append(found.values)
        indices.append(found.indices)
    return torch.cat(cosines), torch.cat(indices)
