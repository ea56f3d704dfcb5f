"""Pixel metrics, as a `torchmetrics.Metric`: AUROC, average precision, F1, AUPRO and AUPIMO.

As with image metrics, `compute` returns plain floats, NaN where undefined. `counts` and
`region_counts` give what `fre_lightning.metrics.curves` draws curves from.
"""

from typing import Any

from torch import Tensor

from fre_lightning.metrics.bins import bin_thresholds
from fre_lightning.metrics.histogram import PixelKinds, ScoreHistogram, Weighted
from fre_lightning.metrics.info import PIXEL_METRICS
from fre_lightning.metrics.regions import image_weights, region_weights


class PixelMetrics(ScoreHistogram):
    """Pixel AUROC, average precision (AUPR), highest F1, AUPRO and AUPIMO over all images.

    All depend on nothing but the order of the scores. AUPRO is the mean over 8-connected defect
    regions of the covered fraction, averaged over false positive rates from 0 to 0.3 of
    all pixels outside the masks; its thresholds are the scores. AUPIMO (`curves.aupimo`) takes the
    false positive rate of all good images at once, where the paper averages those of single
    images: the same for images of equal size.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Begin with nothing; `kwargs` are those of `torchmetrics.Metric`."""
        super().__init__(n_kinds=len(PixelKinds._fields), **kwargs)

    def _count(self, bins: Tensor, masks: Tensor | None) -> PixelKinds[Weighted]:
        pixels = Weighted(bins.flatten())
        if masks is None:
            nothing = Weighted(pixels.bins[:0])
            return PixelKinds(pixels, pixels, nothing, nothing, nothing)
        defects = bins[masks]
        return PixelKinds(
            all=pixels,
            normal=Weighted(bins[~masks.flatten(1).any(1)].flatten()),
            defects=Weighted(defects),
            by_region=Weighted(defects, region_weights(masks)),
            by_image=Weighted(defects, image_weights(masks)),
        )

    def kinds(self) -> PixelKinds[Tensor]:
        """The pixels of each kind in each bin, `(K,)` int64 on the CPU."""
        return PixelKinds(*self.histogram()[1].cpu().T.contiguous())

    def counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Lowest score of each bin, ascending, and its defect and good pixels, `(K,)` each."""
        kinds, thresholds = self.kinds(), bin_thresholds(self.histogram()[0])
        return thresholds.cpu(), kinds.defects, kinds.all - kinds.defects

    def region_counts(self) -> tuple[Tensor, Tensor]:
        """Defect pixels weighted by region, and good pixels, `(K,)` each, as in `counts`."""
        kinds = self.kinds()
        return kinds.by_region, kinds.all - kinds.defects

    def compute(self) -> dict[str, float]:
        """Each of `PIXEL_METRICS`."""
        kinds = self.kinds()
        return {name: float(info.function(kinds)) for name, info in PIXEL_METRICS.items()}
