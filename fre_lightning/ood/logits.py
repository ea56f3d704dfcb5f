"""Methods that look at logits: maximum softmax probability, maximum logit, energy, ReAct."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.errors import ConfigError
from fre_lightning.ood.method import Known, Method

_MOST_VALUES = 2**24
"""That a percentile is computed of: more are thinned out by rows."""


class MaximumSoftmax(Method):
    """One minus the maximum softmax probability (Hendrycks and Gimpel 2017, arXiv 1610.02136)."""

    title: ClassVar[str] = "MSP"
    uses: ClassVar[str] = "logits"

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """1 - max_k softmax_k; as a sum of the others, which keeps its digits near 0."""
        others = logits.sort(dim=1, descending=True).values
        rest = (others[:, 1:] - others[:, :1]).exp().sum(dim=1)
        return rest / (1 + rest)


class MaximumLogit(Method):
    """The negative maximum logit (Hendrycks et al. 2022, arXiv 1911.11132)."""

    title: ClassVar[str] = "MaxLogit"
    uses: ClassVar[str] = "logits"

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """- max_k logit_k."""
        return -logits.amax(dim=1)


class Energy(Method):
    """The free energy (Liu et al. 2020, arXiv 2010.03759).

    Args:
        temperature: T, 1 in the paper.
    """

    title: ClassVar[str] = "Energy"
    uses: ClassVar[str] = "logits"

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """- T log sum_k exp(logit_k / T)."""
        return -self.temperature * (logits / self.temperature).logsumexp(dim=1)


class ReAct(Method):
    """Energy of logits from features that are cut off above (Sun et al. 2021, arXiv 2111.12797).

    Args:
        percentile: Of all known features, above which they are cut off: 90 in the paper.

    Attributes:
        limit: `()`, c. Like the next two, set by `fit`.
        weight: `(K, D)`, the head's.
        bias: `(K,)`.
    """

    title: ClassVar[str] = "ReAct"
    uses: ClassVar[str] = "head"
    limit: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, percentile: float) -> None:
        super().__init__()
        if not 0 < percentile <= 100:
            msg = f"methods.react.percentile={percentile} must lie between 0 and 100."
            raise ConfigError(msg)
        self.percentile = percentile
        self.add_buffers("limit", "weight", "bias")

    def fit(self, known: Known, device: torch.device | None = None) -> None:  # noqa: ARG002
        """Find the percentile of all features."""
        assert known.head is not None
        n_rows, n_columns = known.features.shape
        step = -(-n_rows * n_columns // _MOST_VALUES)
        values = torch.cat([rows[::step] for _, rows in known.features.row_blocks()])
        limit = torch.tensor(np.percentile(values.numpy(), self.percentile))
        self.keep(limit=limit, weight=known.head.weight, bias=known.head.bias)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """- log sum_k exp(W min(h, c) + b)_k."""
        return -F.linear(features.minimum(self.limit), self.weight, self.bias).logsumexp(dim=1)
