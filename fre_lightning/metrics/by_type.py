"""Pixel metrics of each defect type and of all images, in one pass."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fre_lightning.collective import gather
from fre_lightning.datasets.base import GOOD
from fre_lightning.images.resizing import resize_map
from fre_lightning.metrics.bootstrap import bootstrap_interval
from fre_lightning.metrics.curves import auroc, count
from fre_lightning.metrics.info import PIXEL_METRICS
from fre_lightning.metrics.pixel import PixelMetrics


class PixelMetricsByType:
    """One `PixelMetrics` for each defect type; their histograms add up to that of all images.

    Attributes:
        total: The metric of all images, after `close`.
        values: The metrics of each defect type after `close`: of its images and the good ones.
        n_outside: The number of images of which no defect counts, although there is one.
    """

    def __init__(self) -> None:
        self.total = _new()
        self.values: dict[str, dict[str, float]] = {}
        self.n_outside = 0
        self._by_type: dict[str, PixelMetrics] = {}

    def update(
        self,
        anomaly_maps: Tensor,
        masks: Tensor | Sequence[Tensor],
        types: Sequence[str],
        regions: Tensor | None = None,
    ) -> None:
        """Add images.

        Args:
            anomaly_maps: `(N, H, W)` float of any range.
            masks: `(N, H, W)` bool; or a list of `(h, w)` bool, to whose sizes the maps are
                resized.
            types: The defect type of each image, or `good`.
            regions: `(N, H, W)` bool, the pixels that count, resized likewise; None: all do.
        """
        if not isinstance(masks, Tensor):
            for index, (mask, name) in enumerate(zip(masks, types, strict=True)):
                size, image = (mask.shape[0], mask.shape[1]), slice(index, index + 1)
                region = None
                if regions is not None:
                    region = resize_map(regions[image].float(), size) > 0.5
                self.update(resize_map(anomaly_maps[image], size), mask[None], [name], region)
            return
        if regions is not None:
            regions = regions.to(masks.device)
            defective, found = (m.flatten(1).any(dim=1) for m in (masks, masks & regions))
            self.n_outside += int((defective & ~found).sum())
        for name in dict.fromkeys(types):
            chosen = torch.tensor([other == name for other in types])
            metric = self._by_type.setdefault(name, _new().to(anomaly_maps.device))
            own = None if regions is None else regions[chosen]
            metric.update(anomaly_maps[chosen], masks[chosen], own)

    def close(self) -> None:
        """Compute `total` and `values` of the images so far, of all processes of the run."""
        parts = gather((self.n_outside, {n: metric.cpu() for n, metric in self._by_type.items()}))
        self.n_outside = sum(n_outside for n_outside, _ in parts)
        self._by_type = {}
        for name, metric in (item for _, by_type in parts for item in by_type.items()):
            self.total.add(metric)
            if name in self._by_type:
                self._by_type[name].add(metric)
            else:
                self._by_type[name] = metric
        good = self._by_type.pop(GOOD, None)
        for name, metric in self._by_type.items():
            if good is not None:
                metric.add(good)
            self.values[name] = metric.compute()
        self._by_type = {}


def _new() -> PixelMetrics:
    return PixelMetrics(sync_on_compute=False)  # processes meet in `close`, each with its types


def metrics_by_type(
    scores: Tensor, types: Sequence[str], pixel_metrics: Mapping[str, Mapping[str, float]]
) -> list[dict[str, str | float]]:
    """How well the images of each defect type are told from all good ones.

    Args:
        scores: `(N,)`, image scores.
        types: The defect type of each image, or `good`.
        pixel_metrics: `PixelMetricsByType.values`.

    Returns:
        A row for each type, the columns of `defect_types.csv`: `defect_type`, `n_images`,
        `image_auroc` and the ends `low` and `high` of its 95 % bootstrap interval, and the
        headline pixel metrics; NaN where undefined.
    """
    names = [name for name, info in PIXEL_METRICS.items() if info.is_headline]
    rows: list[dict[str, str | float]] = []
    for defect_type in dict.fromkeys(name for name in types if name != GOOD):
        chosen = torch.tensor([name in {defect_type, GOOD} for name in types])
        labels = torch.tensor([name == defect_type for name in types])[chosen]
        low, high = bootstrap_interval(scores[chosen], labels, auroc)
        found = pixel_metrics.get(defect_type, {})
        rows.append(
            {
                "defect_type": defect_type,
                "n_images": int(labels.sum()),
                "image_auroc": float(auroc(*count(scores[chosen], labels))),
                "low": low,
                "high": high,
                **{name: found.get(name, math.nan) for name in names},
            }
        )
    return rows
