"""Streaming histograms of pixel scores, the state of all pixel metrics."""

import torch
from torch import Tensor
from torchmetrics import Metric

from fre_lightning.score_bins import N_BINS, score_bins


class ScoreHistogram(Metric):
    """Base of pixel metrics: histograms of the scores of all pixels of all images.

    Memory is constant, 8 MB for each histogram, and processes add theirs up.
    `fre_lightning.score_bins` says what the bins cost in accuracy. A derived class adds its
    histograms and fills them in `_count`.
    """

    full_state_update = False

    def update(self, anomaly_maps: Tensor, masks: Tensor | None = None) -> None:
        """Add images.

        Args:
            anomaly_maps: `(N, H, W)` float of any range.
            masks: `(N, H, W)`, true or non-zero where the image is defective; None if no image
                is, which saves time.

        Raises:
            ValueError: If the shapes differ or a score is NaN.
        """
        if anomaly_maps.ndim != 3 or (masks is not None and masks.shape != anomaly_maps.shape):
            shape = "missing" if masks is None else tuple(masks.shape)
            msg = (
                f"anomaly_maps {tuple(anomaly_maps.shape)}, masks {shape}: both must be (N, H, W)."
            )
            raise ValueError(msg)
        bins = score_bins(anomaly_maps.detach().to(self.device))
        if masks is not None:
            masks = masks.bool().to(self.device)
        self._count(bins, masks if masks is not None and masks.any() else None)

    def _count(self, bins: Tensor, masks: Tensor | None) -> None:
        """Add `(N, H, W)` bins to the histograms; masks is None if all images are good."""
        raise NotImplementedError

    def add_histogram(self, name: str) -> None:
        """Register a histogram, `(N_BINS,)` int64, that processes sum."""
        # int64, because counts and the sums of weights must be exact, also on devices without
        # float64.
        zeros = torch.zeros(N_BINS, dtype=torch.int64)
        self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def add(self, other: "ScoreHistogram") -> None:
        """Add the images that another metric of this class has seen."""
        for name in self._defaults:
            getattr(self, name).add_(getattr(other, name))
        self._update_count += other._update_count

    def reset(self) -> None:
        """Empty the histograms."""
        # Lightning resets in inference mode; tensors made there can't be updated outside of it.
        with torch.inference_mode(mode=False):
            super().reset()


def add_bins(histogram: Tensor, bins: Tensor, weights: Tensor | None = None) -> None:
    """Add `(M,)` bins, each weighing 1 or as the `(M,)` int64 weights say, to a histogram."""
    if weights is None:
        weights = histogram.new_ones(1).expand(len(bins))
    # In place: a histogram is far larger than a map, too large to make a new one for each batch.
    histogram.index_add_(0, bins, weights)
