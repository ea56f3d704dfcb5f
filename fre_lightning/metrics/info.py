"""All metrics: their names, titles and functions, and where they are shown."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from fre_lightning.metrics import curves

INTERVAL_ENDS = ("_low", "_high")
"""Suffixes of a metric's name: the ends of its 95 % interval."""


class PixelKinds(NamedTuple):
    """The kinds of pixels that are counted, `(K,)` each.

    Attributes:
        all: All pixels.
        normal: Pixels of good images.
        defects: Defect pixels.
        by_region: Defect pixels, weighted so that all 8-connected regions have equal weight.
        by_image: Defect pixels, weighted so that all defective images have equal weight.
    """

    all: Tensor
    normal: Tensor
    defects: Tensor
    by_region: Tensor
    by_image: Tensor

    @property
    def good(self) -> Tensor:
        """All pixels that are no defects, `(K,)`."""
        return self.all - self.defects


class MetricInfo(NamedTuple):
    """A metric.

    Attributes:
        title: Its name under the heading `image` or `pixel`.
        function: Of `(positives, negatives)` image counts, or of `PixelKinds`; gives a scalar.
        is_headline: Whether the report's tiles and, of a pixel metric, the table of defect types
            show it.
        is_listed: Whether a run's table in the terminal and the files of a sweep show it. All
            metrics are in `metrics.json` and in the report.
    """

    title: str
    function: Callable[..., Tensor]
    is_headline: bool = False
    is_listed: bool = True


def _of_pixels(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[PixelKinds], Tensor]:
    return lambda kinds: function(kinds.defects, kinds.good)


IMAGE_METRICS = {
    "image_auroc": MetricInfo("AUROC", curves.auroc, is_headline=True),
    "image_aupr": MetricInfo("AUPR", curves.average_precision),
    "image_f1_max": MetricInfo("F1-max", curves.f1_max),
}

PIXEL_METRICS = {
    "pixel_auroc": MetricInfo("AUROC", _of_pixels(curves.auroc), is_headline=True),
    "pixel_aupro": MetricInfo(
        "AUPRO", lambda kinds: curves.partial_auroc(kinds.by_region, kinds.good), is_headline=True
    ),
    "pixel_aupr": MetricInfo("AUPR", _of_pixels(curves.average_precision), is_listed=False),
    "pixel_f1_max": MetricInfo("F1-max", _of_pixels(curves.f1_max), is_listed=False),
    "pixel_aupimo": MetricInfo(
        "AUPIMO", lambda kinds: curves.aupimo(kinds.by_image, kinds.normal), is_listed=False
    ),
}

METRICS = IMAGE_METRICS | PIXEL_METRICS


def interval(metrics: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """The ends of a metric's interval; None if it has none."""
    low, high = (metrics.get(name + end) for end in INTERVAL_ENDS)
    return None if low is None or high is None else (low, high)
