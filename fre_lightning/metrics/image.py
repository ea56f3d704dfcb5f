"""Image metrics, as a `torchmetrics.Metric`: AUROC, average precision and F1 of image scores.

`compute` returns plain floats by name, ready for `self.log_dict` and for JSON. A number is NaN
where it is not defined: without defective or without good images.

torchmetrics' own AUROC is not used: it passes a batch through a sigmoid if a score lies outside
[0, 1], as all reconstruction errors do.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fre_lightning.metrics import curves
from fre_lightning.metrics.bootstrap import bootstrap_interval
from fre_lightning.metrics.info import IMAGE_METRICS, INTERVAL_ENDS


class ImageMetrics(Metric):
    """Exact image AUROC, average precision (AUPR) and highest F1."""

    full_state_update = False
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Add images.

        Args:
            scores: `(N,)` float of any range.
            labels: `(N,)`, true or non-zero for defective images.

        Raises:
            ValueError: If the shapes differ.
        """
        if scores.ndim != 1 or scores.shape != labels.shape:
            msg = f"scores {tuple(scores.shape)} and labels {tuple(labels.shape)} must be (N,)."
            raise ValueError(msg)
        self.scores.append(scores.detach())
        self.labels.append(labels.bool())

    def counts(self) -> tuple[Tensor, Tensor]:
        """Defective and good images at each distinct score, ascending, `(K,)` each."""
        return curves.count(*self._seen())

    def compute(self) -> dict[str, float]:
        """Each of `IMAGE_METRICS`."""
        counts = self.counts()
        return {name: float(info.function(*counts)) for name, info in IMAGE_METRICS.items()}

    def intervals(self) -> dict[str, float]:
        """95 % bootstrap interval of each number, as `<name>_low` and `<name>_high`."""
        ends: dict[str, float] = {}
        for name, info in IMAGE_METRICS.items():
            values = bootstrap_interval(*self._seen(), info.function)
            ends |= {name + end: value for end, value in zip(INTERVAL_ENDS, values, strict=True)}
        return ends

    def _seen(self) -> tuple[Tensor, Tensor]:
        """Scores and labels of all images, `(N,)` each."""
        if len(self.scores) == 0:
            return torch.zeros(0), torch.zeros(0, dtype=torch.bool)
        return dim_zero_cat(self.scores).cpu(), dim_zero_cat(self.labels).cpu()
