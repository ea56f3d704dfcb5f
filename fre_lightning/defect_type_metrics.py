"""Pixel metrics of each defect type, and of all images, from one pass."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fre_lightning.datasets.base import GOOD
from fre_lightning.metrics import PixelMetrics


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

    def update(self, anomaly_maps: Tensor, masks: Tensor, types: Sequence[str]) -> None:
        """Add images.

        Args:
            anomaly_maps: `(N, H, W)` float of any range.
            masks: `(N, H, W)` bool.
            types: The defect type of each, or `good`.
        """
        for name in dict.fromkeys(types):
            chosen = torch.tensor([other == name for other in types], device=anomaly_maps.device)
            if name not in self._by_type:
                self._by_type[name] = PixelMetrics().to(anomaly_maps.device)
            is_all = bool(chosen.all())
            self._by_type[name].update(
                anomaly_maps if is_all else anomaly_maps[chosen],
                masks if is_all else masks[chosen.to(masks.device)],
            )

    def close(self) -> None:
        """Compute, and let go of the histograms of the types, 24 MB each."""
        for metric in self._by_type.values():
            self.total = self.total.to(metric.device)
            self.total.add(metric)
        good = self._by_type.pop(GOOD, None)
        for name, metric in self._by_type.items():
            if good is not None:
                metric.add(good)
            self.values[name] = metric.compute()
        self._by_type = {}
