"""Pixel metrics of each defect type, and of all images, from one pass."""

from collections.abc import Sequence
from itertools import groupby

from torch import Tensor

from fre_lightning.datasets.base import GOOD
from fre_lightning.images.resizing import resize_map
from fre_lightning.metrics.pixel import PixelMetrics


class PixelMetricsByType:
    """A `PixelMetrics` for the images of each defect type, whose histograms add up to the whole.

    Attributes:
        total: Of all images, after `close`.
        values: Of each defect type after `close`, what `PixelMetrics.compute` says of its images
            together with the good ones.
    """

    def __init__(self) -> None:
        self.total = PixelMetrics()
        self.values: dict[str, dict[str, float]] = {}
        self._by_type: dict[str, PixelMetrics] = {}

    def update(
        self, anomaly_maps: Tensor, masks: Tensor | Sequence[Tensor], types: Sequence[str]
    ) -> None:
        """Add images.

        Args:
            anomaly_maps: `(N, H, W)` float of any range.
            masks: `(N, H, W)` bool; or `(h, w)` each, which the maps are then resized to.
            types: The defect type of each, or `good`.
        """
        if not isinstance(masks, Tensor):
            for anomaly_map, mask, name in zip(anomaly_maps, masks, types, strict=True):
                size = mask.shape[0], mask.shape[1]
                self.update(resize_map(anomaly_map[None], size), mask[None], [name])
            return
        start = 0
        for name, run in groupby(types):
            stop = start + len(list(run))
            if name not in self._by_type:
                self._by_type[name] = PixelMetrics().to(anomaly_maps.device)
            self._by_type[name].update(anomaly_maps[start:stop], masks[start:stop])
            start = stop

    def close(self) -> None:
        """Compute what images have been added to."""
        for metric in self._by_type.values():
            self.total = self.total.to(metric.device)
            self.total.add(metric)
        good = self._by_type.pop(GOOD, None)
        for name, metric in self._by_type.items():
            if good is not None:
                metric.add(good)
            self.values[name] = metric.compute()
        self._by_type = {}
