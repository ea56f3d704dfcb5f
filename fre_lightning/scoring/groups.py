"""Training images that belong together, to be held out together.

An image whose neighbour was learnt looks better than a new one. Photographs are often neighbours:
frames of one sequence, or several of one part. Held out one by one they promise a false-alarm rate
that the next recording does not keep.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.similarity import MOST_COMPARED, directions

_MIN_IMAGES = 20  # with fewer it cannot be told whether they are sequences
_FAR = 0.2  # share of all images that lies between two that count as strangers
_SHARE_OF_STRANGERS = 0.95  # that neighbours in a sequence resemble each other more than
_SHARE_APART = 0.975  # of strangers, that the images of a group resemble each other more than
_COPIES = 0.99  # cosine from which two images are one


def find_groups(parts: Sequence[FeatureMatrix]) -> Tensor | None:
    """Find out which images belong together: those of a sequence that resemble each other, copies.

    Images are sequences if one mostly resembles the next more than 95 % of the pairs that lie far
    apart in order resemble each other. If so, they are clustered (average linkage) up to the
    similarity that 2.5 % of the pairs that lie far apart exceed. Images in random order that
    resemble each other are not grouped, but for copies: new ones will resemble them just so.

    Args:
        parts: Features `(N, D)` of each part of the images (tile), in file order.

    Returns:
        `(N,)` int64, a group from 0 to G - 1 of each image; None if each is one of its own.
    """
    n_images = parts[0].shape[0]
    (rows,) = directions(parts)
    neighbours = _pairs(rows, [1])
    is_sequence, bound = False, _COPIES
    if n_images >= _MIN_IMAGES:
        n_far = round(_FAR * n_images)
        strangers = _pairs(rows, range(n_far, n_images - n_far, max(1, n_images // 16)))
        is_sequence = bool(neighbours.median() > strangers.quantile(_SHARE_OF_STRANGERS))
        bound = float(strangers.quantile(_SHARE_APART)) if is_sequence else _COPIES
    if n_images > MOST_COMPARED:
        groups = F.pad((neighbours < bound).long().cumsum(dim=0), (1, 0))
    else:
        groups = _cluster(rows, bound, "average" if is_sequence else "single")
    return groups if int(groups.max()) + 1 < n_images else None


def deal_groups(groups: Tensor, n_folds: int) -> Tensor:
    """Deal whole groups to folds: the largest first, each to the fold that has the fewest images.

    Args:
        groups: `(N,)` int64 from 0 to G - 1.
        n_folds: The most folds; there are no more than groups.

    Returns:
        `(N,)` int64, the fold of each image.
    """
    sizes = groups.bincount()
    folds = torch.zeros_like(sizes)
    filled = sizes.new_zeros(min(n_folds, len(sizes)))
    for group in sizes.argsort(descending=True, stable=True).tolist():
        folds[group] = filled.argmin()
        filled[folds[group]] += sizes[group]
    return folds[groups]


def effective_number(groups: Tensor) -> float:
    """How many groups of equal size would count as much as these: `(sum n)^2 / sum n^2`."""
    sizes = groups.bincount().double()
    return float(sizes.sum() ** 2 / sizes.square().sum())


def _pairs(rows: Tensor, distances: Sequence[int]) -> Tensor:
    """Cosines of all pairs of images that lie so far apart in order."""
    return torch.cat([(rows[d:] * rows[:-d]).sum(dim=1) for d in distances])


def _cluster(rows: Tensor, bound: float, linkage: str) -> Tensor:
    """Groups `(N,)` of images whose cosine with each other is at least `bound`, as linkage says."""
    from scipy.cluster import hierarchy  # type: ignore[import-untyped]  # half a second to import
    from scipy.spatial.distance import squareform  # type: ignore[import-untyped]

    cosines = (rows @ rows.T).fill_diagonal_(0)
    if not (cosines > bound).any():
        return torch.arange(len(cosines))
    distances = (1 - cosines).clamp(min=0).fill_diagonal_(0).double()
    tree = hierarchy.linkage(squareform(distances.numpy(), checks=False), linkage)
    return torch.from_numpy(hierarchy.fcluster(tree, 1 - bound, "distance")).long() - 1
