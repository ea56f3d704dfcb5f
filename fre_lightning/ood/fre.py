"""FRE of a classifier's features, by one subspace or one for each class."""

import copy
import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from fre_lightning.errors import DatasetError, FeatureError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.ood.method import Known, Method
from fre_lightning.reducers import GradientReducer, Reducer


class FRE(Method):
    """The squared feature reconstruction error (Ndiour et al. 2022, arXiv 2203.10422).

    Args:
        reducer: Learns the subspace of all known images.
    """

    title: ClassVar[str] = "FRE"
    uses: ClassVar[str] = "features"

    def __init__(self, reducer: Reducer) -> None:
        super().__init__()
        self.reducer = reducer

    @property
    def n_components(self) -> list[int]:
        """The number of components of each subspace."""
        return [self.reducer.n_components]

    def fit(self, known: Known, device: torch.device | None = None) -> None:
        """Learn the subspace."""
        fit_reducer(self.reducer, known.features, device)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """|x - decode(encode(x))|^2."""
        return squared_error(self.reducer, features)


class FREByClass(Method):
    """The least squared reconstruction error of the subspaces of all classes (as `FRE`).

    Args:
        reducer: What learns each of them is a copy.
    """

    title: ClassVar[str] = "FRE per class"
    uses: ClassVar[str] = "features"

    def __init__(self, reducer: Reducer) -> None:
        super().__init__()
        self._blank = [reducer]  # in a list, as it is no part of the state
        self.reducers = nn.ModuleList()

    @property
    def n_components(self) -> list[int]:
        """The number of components of each subspace."""
        return [reducer.n_components for reducer in self.reducers]  # type: ignore[misc]

    def fit(self, known: Known, device: torch.device | None = None) -> None:
        """Learn the subspace of each class.

        Raises:
            DatasetError: If a class has fewer than two images.
        """
        self._make(int(known.labels.max()) + 1)
        for index, reducer in enumerate(self.reducers):
            chosen = known.labels == index
            if chosen.sum() < 2:
                msg = (
                    f"Class number {index} has {int(chosen.sum())} images to learn from, and its "
                    "subspace takes at least 2. Add some, or leave out ~methods.fre_by_class."
                )
                raise DatasetError(msg)
            parts = [block[chosen[rows]] for rows, block in known.features.row_blocks()]
            fit_reducer(reducer, FeatureMatrix([torch.cat(parts)]), device)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """min_c |x - decode_c(encode_c(x))|^2."""
        errors = [squared_error(reducer, features) for reducer in self.reducers]
        return torch.stack(errors).amin(dim=0)

    def _make(self, n_classes: int) -> None:
        self.reducers = nn.ModuleList(copy.deepcopy(self._blank[0]) for _ in range(n_classes))

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        start = f"{prefix}reducers."
        stored = {
            key[len(start) :].partition(".")[0] for key in state_dict if key.startswith(start)
        }
        self._make(len(stored))
        super()._load_from_state_dict(state_dict, prefix, *args)


@torch.no_grad()
def fit_reducer(
    reducer: nn.Module, features: FeatureMatrix, device: torch.device | None = None
) -> None:
    """Fit a reducer, with all of its epochs if it has any.

    Raises:
        FeatureError: If there are too few images, or its loss is no finite number any more.
    """
    assert isinstance(reducer, Reducer)
    reducer.fit(features, device)
    if isinstance(reducer, GradientReducer):
        for epoch in range(reducer.epochs):
            loss = float(reducer.training_epoch())
            if not math.isfinite(loss):
                msg = f"The loss became {loss} in epoch {epoch}. Choose a smaller reducer.lr."
                raise FeatureError(msg)
        reducer.finish()


def squared_error(reducer: nn.Module, features: Tensor) -> Tensor:
    """The squared reconstruction error `(N,)` of `(N, D)` features."""
    error: Tensor = (features - reducer(features)).square().sum(dim=1)
    return error
