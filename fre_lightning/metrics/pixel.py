"""Pixel metrics, as a `torchmetrics.Metric`: AUROC, average precision, F1, AUPRO and AUPIMO.

As with image metrics, `compute` returns plain floats, NaN where undefined. `counts` and
`region_counts` give what `fre_lightning.metrics.curves` draws curves from.
"""

from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor

from fre_lightning.metrics import curves
from fre_lightning.metrics.bins import bin_thresholds
from fre_lightning.metrics.histogram import ScoreHistogram, Weighted
from fre_lightning.metrics.regions import image_weights, region_weights

T = TypeVar("T")


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


class PixelMetrics(ScoreHistogram):
    """Pixel AUROC, average precision (AUPR), highest F1, AUPRO and AUPIMO over all images.

    All depend on nothing but the order of the scores. AUPRO is the mean over 8-connected defect
    regions of the covered fraction, averaged over false positive rates from 0 to `fpr_limit` of
    all pixels outside the masks; its thresholds are the scores. AUPIMO (`curves.aupimo`) takes the
    false positive rate of all good images at once, where the paper averages those of single
    images: the same for images of equal size.
    """

    def __init__(
        self,
        fpr_limit: float = 0.3,
        fpr_bounds: tuple[float, float] = (1e-5, 1e-4),
        **kwargs: Any,
    ) -> None:
        """Start empty.

        Args:
            fpr_limit: The highest false positive rate of AUPRO, in (0, 1].
            fpr_bounds: The lowest and highest false positive rate of AUPIMO, in (0, 1].
            kwargs: Those of `torchmetrics.Metric`.

        Raises:
            ValueError: If a rate is out of range.
        """
        super().__init__(n_kinds=len(PixelKinds._fields), **kwargs)
        lower, upper = fpr_bounds
        if not 0 < fpr_limit <= 1:
            msg = f"fpr_limit={fpr_limit} must be above 0 and at most 1."
            raise ValueError(msg)
        if not 0 < lower < upper <= 1:
            msg = f"fpr_bounds={tuple(fpr_bounds)} must ascend above 0 and up to 1."
            raise ValueError(msg)
        self.fpr_limit = fpr_limit
        self.fpr_bounds = (lower, upper)

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

    def _kinds(self) -> PixelKinds[Tensor]:
        """The pixels of each kind in each bin, `(K,)` int64 on the CPU."""
        return PixelKinds(*self.histogram()[1].cpu().T.contiguous())

    def counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Lowest score of each bin, ascending, and its defect and good pixels, `(K,)` each."""
        kinds, thresholds = self._kinds(), bin_thresholds(self.histogram()[0])
        return thresholds.cpu(), kinds.defects, kinds.all - kinds.defects

    def region_counts(self) -> tuple[Tensor, Tensor]:
        """Defect pixels weighted by region, and good pixels, `(K,)` each, as in `counts`."""
        kinds = self._kinds()
        return kinds.by_region, kinds.all - kinds.defects

    def compute(self) -> dict[str, float]:
        """`pixel_auroc`, `pixel_aupr`, `pixel_f1_max`, `pixel_aupro` and `pixel_aupimo`."""
        kinds = self._kinds()
        defects, good = kinds.defects, kinds.all - kinds.defects
        return {
            "pixel_auroc": float(curves.auroc(defects, good)),
            "pixel_aupr": float(curves.average_precision(defects, good)),
            "pixel_f1_max": float(curves.f1_max(defects, good)),
            "pixel_aupro": float(curves.partial_auroc(kinds.by_region, good, self.fpr_limit)),
            "pixel_aupimo": float(curves.aupimo(kinds.by_image, kinds.normal, self.fpr_bounds)),
        }
