"""Pixel metrics, as a `torchmetrics.Metric`: AUROC, average precision, F1, AUPRO and AUPIMO.

`compute` returns plain floats, NaN where undefined: without defects or without good pixels.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fre_lightning.metrics.bins import score_bins
from fre_lightning.metrics.info import PIXEL_METRICS, PixelKinds
from fre_lightning.metrics.regions import image_weights, region_weights


class PixelMetrics(Metric):
    """Pixel AUROC, average precision (AUPR), highest F1, AUPRO and AUPIMO over all images.

    All depend on nothing but the order of the scores. AUPRO is the mean over 8-connected defect
    regions of the covered fraction, averaged over false positive rates from 0 to 0.3 of
    all pixels outside the masks; its thresholds are the scores. AUPIMO (`curves.aupimo`) takes the
    false positive rate of all good images at once, where the paper averages those of single
    images: the same for images of equal size.

    Its state is histograms of scores, which add up over batches and processes. Only bins that are
    not empty are kept, some ten thousand however many images there are; see
    `fre_lightning.metrics.bins` for the bins and their cost in accuracy.

    Attributes:
        bins: List of one `(K,)` int32 tensor, the bins that are not empty, ascending.
        weights: List of one `(K, 5)` int64 tensor, the total weight of each of `PixelKinds`.
    """

    full_state_update = False
    bins: list[Tensor]
    weights: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("bins", default=[], dist_reduce_fx="cat")
        self.add_state("weights", default=[], dist_reduce_fx="cat")

    def update(
        self, anomaly_maps: Tensor, masks: Tensor | None = None, regions: Tensor | None = None
    ) -> None:
        """Add images.

        Args:
            anomaly_maps: `(N, H, W)` float of any range.
            masks: `(N, H, W)`, true or non-zero for defect pixels; None if all images are good,
                which saves time.
            regions: `(N, H, W)` bool, the pixels that count; None: all do.

        Raises:
            ValueError: If the shapes differ, or a score is NaN.
        """
        if anomaly_maps.ndim != 3 or (masks is not None and masks.shape != anomaly_maps.shape):
            shape = "missing" if masks is None else tuple(masks.shape)
            msg = f"Maps {tuple(anomaly_maps.shape)} and masks {shape} must be (N, H, W)."
            raise ValueError(msg)
        if anomaly_maps.numel() == 0:
            return
        bins = score_bins(anomaly_maps.detach().to(self.device))
        first, last = (int(end) for end in bins.aminmax())
        # int64: exact sums, also on devices without float64.
        dense = bins.new_zeros(len(PixelKinds._fields), last - first + 1, dtype=torch.int64)
        _add(PixelKinds(*dense), bins.sub_(first), masks, regions)
        used = dense.any(dim=0).nonzero()[:, 0]
        self._put((used + first).int(), dense[:, used].T)

    def histogram(self) -> tuple[Tensor, Tensor]:
        """Bins that are not empty, `(K,)` int32 ascending, and their weights `(K, 5)` int64."""
        if len(self.bins) == 0:
            nothing = torch.zeros(0, len(PixelKinds._fields), dtype=torch.int64, device=self.device)
            return nothing[:, 0].int(), nothing
        bins, weights = dim_zero_cat(self.bins), dim_zero_cat(self.weights)
        distinct, place = torch.unique(bins, return_inverse=True)
        total = weights.new_zeros(len(distinct), weights.shape[1])
        return distinct, total.index_add_(0, place, weights)

    def add(self, other: "PixelMetrics") -> None:
        """Add the images of another metric."""
        self._put(*other.histogram())
        self._update_count += other._update_count

    def kinds(self) -> PixelKinds:
        """The pixels of each kind in each bin, by ascending score, `(K,)` int64 on the CPU."""
        return PixelKinds(*self.histogram()[1].cpu().T.contiguous())

    def compute(self) -> dict[str, float]:
        """Each of `PIXEL_METRICS`."""
        kinds = self.kinds()
        return {name: float(info.function(kinds)) for name, info in PIXEL_METRICS.items()}

    def _put(self, bins: Tensor, weights: Tensor) -> None:
        self.bins.append(bins)
        self.weights.append(weights)
        if len(self.bins) > 1:
            bins, weights = self.histogram()
            self.bins, self.weights = [bins], [weights]


def _add(kinds: PixelKinds, bins: Tensor, masks: Tensor | None, regions: Tensor | None) -> None:
    """Add a batch `(N, H, W)` to the weight of each kind in each bin, `(K,)`, in place."""
    one = kinds.all.new_ones(1)
    everything = bins.flatten() if regions is None else bins[regions]
    kinds.all.index_add_(0, everything, one.expand(len(everything)))
    masks = masks if masks is None or regions is None else masks & regions
    if masks is None or not masks.any():
        kinds.normal.copy_(kinds.all)
        return
    masks = masks.bool().to(bins.device)
    is_normal = ~masks.flatten(1).any(1)
    normal = bins[is_normal].flatten() if regions is None else bins[is_normal][regions[is_normal]]
    defects = bins[masks]
    kinds.normal.index_add_(0, normal, one.expand(len(normal)))
    kinds.defects.index_add_(0, defects, one.expand(len(defects)))
    kinds.by_region.index_add_(0, defects, region_weights(masks))
    kinds.by_image.index_add_(0, defects, image_weights(masks))
