"""The reducer PCA, principal component analysis, in closed form."""

from typing import ClassVar

import torch
from torch import Tensor

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.base import Reducer
from fre_lightning.reducers.merge import Merge, Moments
from fre_lightning.reducers.rank import find_rank
from fre_lightning.reducers.subspace import Subspace, find_subspace

_MOMENTS = ("variances", "rest", "n_rows")


class PCA(Reducer):
    """The subspace of least squared reconstruction error (Eckart and Young, 1936).

    Attributes:
        variances: `(k,)` float32, see `Moments`; like the next two, empty in older checkpoints.
        rest: `()` float32.
        n_rows: `()` float32.
    """

    name: ClassVar[str] = "pca"
    tied: ClassVar[bool] = True
    variances: Tensor
    rest: Tensor
    n_rows: Tensor

    def __init__(self, n_components: float | str) -> None:
        super().__init__(n_components)
        self.add_buffers(*_MOMENTS)

    @torch.no_grad()
    def fit(self, features: FeatureMatrix, device: torch.device | None = None) -> Subspace:
        """Find the leading principal axes of `(N, D)` features."""
        subspace = find_subspace(features, device, self.n_components_requested)
        variances = subspace.variances
        rank = find_rank(self.n_components_requested, subspace)
        axes = subspace.lift(torch.eye(rank, len(variances)))
        rest = float(variances[rank:].sum()) + subspace.left_out
        self._set_moments(Moments(subspace.mean, axes, variances[:rank], rest, features.shape[0]))
        return subspace

    @property
    def has_moments(self) -> bool:
        """Whether it can be merged with further images."""
        return self.variances.numel() > 0

    @torch.no_grad()
    def update(self, features: FeatureMatrix, device: torch.device | None = None) -> Merge:
        """Learn `(n, D)` further features, without those that it was fitted on.

        Args:
            features: The new features.
            device: Where to compute; None is the CPU.

        Returns:
            The merge, from which held-out errors are computed.
        """
        requested = self.n_components_requested
        share = float(self.variances.sum() / (self.variances.sum() + self.rest))
        if isinstance(requested, str):  # held-out images chose the share that it has
            requested = share
        elif isinstance(requested, float) and requested < 1:  # or the number of components was cut
            requested = min(requested, share)
        rest, n_rows = float(self.rest), int(self.n_rows)
        known = Moments(self.mean, self.encoder_weight, self.variances, rest, n_rows)
        merge = Merge(known, features, requested, device)
        self._set_moments(merge.moments())
        return merge

    def _set_moments(self, moments: Moments) -> None:
        self.set_weights(moments.mean, moments.axes)
        device = self.mean.device
        self.variances = moments.variances.float().to(device)
        self.rest = torch.tensor(moments.rest, device=device)
        self.n_rows = torch.tensor(float(moments.n_rows), device=device)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        for name in _MOMENTS:
            state_dict.setdefault(prefix + name, torch.empty(0))
        super()._load_from_state_dict(state_dict, prefix, *args)
