"""The table of metrics is what the metrics compute."""

import torch

from fre_lightning.metrics.image import image_metrics
from fre_lightning.metrics.info import IMAGE_METRICS, METRICS, PIXEL_METRICS, interval
from fre_lightning.metrics.pixel import PixelMetrics


def test_what_is_listed_is_computed():
    pixel = PixelMetrics()
    image = image_metrics(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0, 0, 1]))
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2] = True
    pixel.update(torch.rand(2, 4, 4), masks)
    assert image.keys() >= IMAGE_METRICS.keys()
    assert pixel.compute().keys() == PIXEL_METRICS.keys()
    assert list(METRICS) == [*IMAGE_METRICS, *PIXEL_METRICS]
    assert all(name.startswith(("image_", "pixel_")) for name in METRICS)
    for name in IMAGE_METRICS:
        low, high = interval(image, name)
        assert low <= image[name] <= high
    assert interval(image, "pixel_auroc") is None
