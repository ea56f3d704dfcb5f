"""Pixel metrics, as a `torchmetrics.Metric`: AUROC, average precision, F1, AUPRO and AUPIMO.

As with image metrics, `compute` returns plain floats, NaN where undefined. `counts` and
`region_counts` give what `fre_lightning.metrics.curves` draws curves from.
"""

from typing import Any

from torch import Tensor

from fre_lightning.metrics import curves
from fre_lightning.metrics.bins import bin_thresholds
from fre_lightning.metrics.histogram import ScoreHistogram, Weighted
from fre_lightning.metrics.regions import image_weights, region_weights


class PixelMetrics(ScoreHistogram):
    """Pixel AUROC, average precision (AUPR), highest F1, AUPRO and AUPIMO over all images.

    Each depends only on the order of the scores, AUPRO too: its thresholds are the scores. It is
    the mean over 8-connected defect regions of the covered fraction, averaged over false positive
    rates (of all pixels that the masks leave out) from 0 to `fpr_limit`. AUPIMO
    (`curves.aupimo`) averages over the rates of good images taken together; the
    paper over those of single images, which is the same as long as images are equally large.
    """

    def __init__(
        self,
        fpr_limit: float = 0.3,
        fpr_bounds: tuple[float, float] = (1e-5, 1e-4),
        **kwargs: Any,
    ) -> None:
        """Begin with nothing.

        Args:
            fpr_limit: Up to which false positive rate AUPRO averages.
            fpr_bounds: Between which false positive rates AUPIMO averages.
            kwargs: Of `torchmetrics.Metric`.

        Raises:
            ValueError: If these are no such rates.
        """
        super().__init__(n_kinds=5, **kwargs)
        lower, upper = fpr_bounds
        if not 0 < fpr_limit <= 1:
            msg = f"fpr_limit={fpr_limit} must be above 0 and at most 1."
            raise ValueError(msg)
        if not 0 < lower < upper <= 1:
            msg = f"fpr_bounds={tuple(fpr_bounds)} must ascend above 0 and up to 1."
            raise ValueError(msg)
        self.fpr_limit = fpr_limit
        self.fpr_bounds = (lower, upper)

    def _count(self, bins: Tensor, masks: Tensor | None) -> tuple[Weighted, ...]:
        """All pixels, those of good images, and those of defects: as they are, by region, image."""
        pixels = Weighted(bins.flatten())
        if masks is None:
            nothing = Weighted(pixels.bins[:0])
            return pixels, pixels, nothing, nothing, nothing
        defects = bins[masks]
        return (
            pixels,
            Weighted(bins[~masks.flatten(1).any(1)].flatten()),
            Weighted(defects),
            Weighted(defects, region_weights(masks)),
            Weighted(defects, image_weights(masks)),
        )

    def counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Lowest score of each bin that occurs, ascending, defect and good pixels: `(K,)` each."""
        bins, weights = self.histogram()
        pixels, _, defects, _, _ = weights.cpu().T
        return bin_thresholds(bins).cpu(), defects, pixels - defects

    def region_counts(self) -> tuple[Tensor, Tensor]:
        """Weighted defect pixels, by region, and good pixels, `(K,)` each, as in `counts`."""
        pixels, _, defects, regions, _ = self.histogram()[1].cpu().T
        return regions, pixels - defects

    def compute(self) -> dict[str, float]:
        """`pixel_auroc`, `pixel_aupr`, `pixel_f1_max`, `pixel_aupro` and `pixel_aupimo`."""
        pixels, normal, defects, regions, images = self.histogram()[1].cpu().T.contiguous()
        good = pixels - defects
        return {
            "pixel_auroc": float(curves.auroc(defects, good)),
            "pixel_aupr": float(curves.average_precision(defects, good)),
            "pixel_f1_max": float(curves.f1_max(defects, good)),
            "pixel_aupro": float(curves.partial_auroc(regions, good, self.fpr_limit)),
            "pixel_aupimo": float(curves.aupimo(images, normal, self.fpr_bounds)),
        }
