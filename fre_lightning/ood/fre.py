"""FRE of a classifier's features, by one subspace or one for each class."""

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from fre_lightning.errors import DatasetError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.ood.method import Known, Method
from fre_lightning.reducers import Reducer, train


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
        self.reducer.fit(known.features, device)
        train(self.reducer)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """|x - decode(encode(x))|^2."""
        return self.reducer.squared_errors(features)


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
    def _fitted(self) -> list[Reducer]:
        return list(self.reducers)  # type: ignore[arg-type]  # a ModuleList forgets its type

    @property
    def n_components(self) -> list[int]:
        """The number of components of each subspace."""
        return [reducer.n_components for reducer in self._fitted]

    def fit(self, known: Known, device: torch.device | None = None) -> None:
        """Learn the subspace of each class.

        Raises:
            DatasetError: If a class has fewer than two images.
        """
        self._make(int(known.labels.max()) + 1)
        for index, reducer in enumerate(self._fitted):
            chosen = known.labels == index
            if chosen.sum() < 2:
                msg = (
                    f"Class number {index} has {int(chosen.sum())} images to learn from, and its "
                    "subspace takes at least 2. Add some, or leave out ~methods.fre_by_class."
                )
                raise DatasetError(msg)
            parts = [block[chosen[rows]] for rows, block in known.features.row_blocks()]
            reducer.fit(FeatureMatrix([torch.cat(parts)]), device)
            train(reducer)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """min_c |x - decode_c(encode_c(x))|^2."""
        errors = [reducer.squared_errors(features) for reducer in self._fitted]
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
