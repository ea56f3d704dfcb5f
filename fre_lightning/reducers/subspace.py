"""The subspace of feature vectors: their mean, principal axes, and coordinates along the axes."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from fre_lightning.errors import FeatureError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.gram import GramSubspace
from fre_lightning.reducers.krylov import KrylovSubspace
from fre_lightning.reducers.scatter import ScatterSubspace

_MAX_EXACT = 5000
"""Of images or features, whichever are fewer: with more an exact solution, whose time
grows with the cube, takes longer."""

_WIDEST_SHARE = 0.97
"""Where held-out images choose the number of components, they choose among this share's."""


class Subspace(Protocol):
    """The leading principal axes of `(N, D)` features, all of them where that is affordable."""

    @property
    def features(self) -> FeatureMatrix:
        """The features."""

    @property
    def mean(self) -> Tensor:
        """`(D,)` float64."""

    @property
    def variances(self) -> Tensor:
        """`(r,)` float64, the variance along each axis, descending, normalised by N - 1."""

    @property
    def left_out(self) -> float:
        """The sum of the variances in directions without an axis."""

    def coordinates(self) -> Tensor:
        """Coordinates of the centred features along the axes, `(N, r)`: an isometry of the span."""

    def lift(self, weights: Tensor) -> Tensor:
        """Turn `(k, r)` weights over the axes into `(k, D)` float32 weights over the features."""

    def held_out_blocks(
        self, n_components: float, folds: Tensor, n_scored: int
    ) -> Iterator[tuple[Tensor | slice, slice, Tensor]]:
        """Residuals of the first images under the subspace of the images of the other folds.

        Args:
            n_components: A share of the variance, or a number; less if there are not as many.
            folds: `(N,)` int64, the fold of each image.
            n_scored: The number of the first images.

        Yields:
            Rows, columns, and their residual block. Of several processes of a run each gets its
            share of the blocks.
        """

    def held_out_coordinates(self, folds: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images in the subspace of the images of the other folds, the same in all processes.

        Args:
            folds: `(N,)` int64, the fold of each image.

        Yields:
            Indices `(n,)`; their squared distances from the mean, `(n,)`; and coordinates along as
            many axes as there are, `(n, r)`.
        """


def find_subspace(
    features: FeatureMatrix,
    device: torch.device | None = None,
    n_components: float | str = _WIDEST_SHARE,
) -> Subspace:
    """Find the principal axes of features without a copy of their matrix.

    Exactly, and all of them, from the smaller of the Gram and the scatter matrix, unless both
    dimensions are large: then as many as are wanted, approximately, see `KrylovSubspace`.

    Args:
        features: `(N, D)`, N at least 2.
        device: Where to compute; None, and devices without float64, mean the CPU.
        n_components: What is wanted, as in `find_rank`.

    Raises:
        FeatureError: If there are fewer than two images, or the features do not vary.
        ConfigError: If the features are many, and `n_components` is not possible.
    """
    n_samples, n_features = features.shape
    if n_samples < 2:
        msg = (
            f"FRE learns what normal images have in common, and there is {n_samples} of them to "
            "train on. Give it at least 2, better 20 or more."
        )
        raise FeatureError(msg)
    device = torch.device("cpu") if device is None or device.type == "mps" else device
    if min(n_samples, n_features) > _MAX_EXACT:
        wanted = _WIDEST_SHARE if isinstance(n_components, str) else n_components
        return KrylovSubspace.of(features, device, wanted)
    return (GramSubspace if n_features > n_samples else ScatterSubspace).of(features, device)
