"""Histograms of pixel scores, added up batch by batch: the state of pixel metrics."""

from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fre_lightning.metrics.bins import score_bins

T = TypeVar("T")


class Weighted(NamedTuple):
    """Pixels to be counted.

    Attributes:
        bins: `(M,)` int32, the bin of each.
        weights: `(M,)` int64; None if each weighs 1.
    """

    bins: Tensor
    weights: Tensor | None = None


class PixelKinds(NamedTuple, Generic[T]):
    """The kinds of pixels that are counted.

    Attributes:
        all: All pixels.
        normal: Pixels of good images.
        defects: Defect pixels.
        by_region: Defect pixels, weighted so that all 8-connected regions have equal weight.
        by_image: Defect pixels, weighted so that all defective images have equal weight.
    """

    all: T
    normal: T
    defects: T
    by_region: T
    by_image: T


class ScoreHistogram(Metric):
    """Base class of pixel metrics: histograms over the scores of all pixels of all images.

    Only bins that are not empty are kept, some ten thousand however many images there are. The
    histograms of several processes add up. `fre_lightning.metrics.bins` describes the bins and
    their cost in accuracy; `_count` of a derived class decides what is counted.

    Attributes:
        bins: List of one `(K,)` int32 tensor, the bins that are not empty, ascending.
        weights: List of one `(K, n)` int64 tensor, the total weight of each kind in each bin.
    """

    full_state_update = False
    bins: list[Tensor]
    weights: list[Tensor]

    def __init__(self, n_kinds: int, **kwargs: object) -> None:
        """Start empty.

        Args:
            n_kinds: The number of histograms over the same bins.
            kwargs: Those of `torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        self.n_kinds = n_kinds
        self.add_state("bins", default=[], dist_reduce_fx="cat")
        self.add_state("weights", default=[], dist_reduce_fx="cat")

    def update(self, anomaly_maps: Tensor, masks: Tensor | None = None) -> None:
        """Add images.

        Args:
            anomaly_maps: `(N, H, W)` float of any range.
            masks: `(N, H, W)`, true or non-zero for defect pixels; None if all images are good,
                which saves time.

        Raises:
            ValueError: If the shapes differ, or a score is NaN.
        """
        if anomaly_maps.ndim != 3 or (masks is not None and masks.shape != anomaly_maps.shape):
            shape = "missing" if masks is None else tuple(masks.shape)
            msg = (
                f"anomaly_maps {tuple(anomaly_maps.shape)}, masks {shape}: both must be (N, H, W)."
            )
            raise ValueError(msg)
        if anomaly_maps.numel() == 0:
            return
        bins = score_bins(anomaly_maps.detach().to(self.device))
        if masks is not None:
            masks = masks.bool().to(self.device)
        first, last = (int(end) for end in bins.aminmax())
        # int64: exact sums, also on devices without float64.
        dense = bins.new_zeros(self.n_kinds, last - first + 1, dtype=torch.int64)
        kinds = self._count(bins.sub_(first), masks if masks is not None and masks.any() else None)
        one = dense.new_ones(1)
        for row, (places, weights) in zip(dense, kinds, strict=True):
            row.index_add_(0, places, one.expand_as(places) if weights is None else weights)
        used = dense.any(dim=0).nonzero()[:, 0]
        self._put((used + first).int(), dense[:, used].T)

    def _count(self, bins: Tensor, masks: Tensor | None) -> tuple[Weighted, ...]:
        """The pixels that a batch adds to each of the `n_kinds` histograms.

        Args:
            bins: `(N, H, W)`, int32.
            masks: `(N, H, W)` bool; None if all images are good.
        """
        raise NotImplementedError

    def histogram(self) -> tuple[Tensor, Tensor]:
        """Bins that are not empty, `(K,)` int32 ascending, and their weights `(K, n_kinds)`."""
        if len(self.bins) == 0:
            nothing = torch.zeros(0, self.n_kinds, dtype=torch.int64, device=self.device)
            return nothing[:, 0].int(), nothing
        bins, weights = dim_zero_cat(self.bins), dim_zero_cat(self.weights)
        distinct, place = torch.unique(bins, return_inverse=True)
        total = weights.new_zeros(len(distinct), self.n_kinds)
        return distinct, total.index_add_(0, place, weights)

    def add(self, other: "ScoreHistogram") -> None:
        """Add the images of another metric of this class."""
        self._put(*other.histogram())
        self._update_count += other._update_count

    def _put(self, bins: Tensor, weights: Tensor) -> None:
        self.bins.append(bins)
        self.weights.append(weights)
        if len(self.bins) > 1:
            bins, weights = self.histogram()
            self.bins, self.weights = [bins], [weights]
