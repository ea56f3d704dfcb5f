"""The reducer PCA, principal component analysis, in closed form."""

from typing import ClassVar

import torch

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.base import Reducer
from fre_lightning.reducers.rank import find_rank
from fre_lightning.reducers.subspace import Subspace, find_subspace


class PCA(Reducer):
    """The subspace of least squared reconstruction error (Eckart and Young, 1936)."""

    name: ClassVar[str] = "pca"
    tied: ClassVar[bool] = True

    @torch.no_grad()
    def fit(self, features: FeatureMatrix, device: torch.device | None = None) -> Subspace:
        """Find the leading principal axes of `(N, D)` features."""
        subspace = find_subspace(features, device)
        rank = find_rank(self.n_components_requested, subspace)
        self.set_weights(subspace.mean, subspace.lift(torch.eye(rank, len(subspace.variances))))
        return subspace
