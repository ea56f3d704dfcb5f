import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from fre_lightning.images.resizing import resize_map
from fre_lightning.metrics.by_type import PixelMetricsByType, metrics_by_type
from fre_lightning.metrics.pixel import PixelMetrics

TYPES = ["good", "dent", "dent", "good", "spot", "dent", "spot", "good"]


def make_images():
    noise = np.random.default_rng(0).normal(size=(len(TYPES), 48, 48))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3))
    masks = torch.from_numpy(smooth > 1.5 * smooth.std())
    masks[[name == "good" for name in TYPES]] = False
    maps = torch.randn(masks.shape, generator=torch.Generator().manual_seed(0)) + 1.5 * masks
    return maps.exp(), masks


def close(maps, masks, types, batch_size=3):
    metrics = PixelMetricsByType()
    for start in range(0, len(types), batch_size):
        batch = slice(start, start + batch_size)
        metrics.update(maps[batch], masks[batch], types[batch])
    metrics.close()
    return metrics


def compute_plainly(maps, masks):
    metric = PixelMetrics()
    metric.update(maps, masks)
    return metric.compute()


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_total_is_of_all_images(batch_size):
    maps, masks = make_images()
    total = close(maps, masks, TYPES, batch_size).total
    assert total.compute() == compute_plainly(maps, masks)
    assert int(total.kinds().all.sum()) == maps.numel()


def test_each_type_stands_with_the_good_images():
    maps, masks = make_images()
    values = close(maps, masks, TYPES).values
    assert list(values) == ["dent", "spot"]
    for name, value in values.items():
        chosen = torch.tensor([other in {name, "good"} for other in TYPES])
        assert value == compute_plainly(maps[chosen], masks[chosen])
        expected = roc_auc_score(masks[chosen].flatten(), maps[chosen].flatten())
        assert value["pixel_auroc"] == pytest.approx(expected, abs=1e-4)


def test_without_good_images():
    maps, masks = make_images()
    kept = torch.tensor([name != "good" for name in TYPES])
    types = [name for name in TYPES if name != "good"]
    metrics = close(maps[kept], masks[kept], types)
    expected = compute_plainly(maps[kept], masks[kept])
    assert metrics.total.compute() == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
    assert metrics.values.keys() == {"dent", "spot"}


def test_maps_are_brought_to_the_size_of_each_mask():
    maps, masks = make_images()
    sizes = [(48 + 8 * i, 60) for i in range(len(TYPES))]
    resized = [resize_map(a_map[None], size)[0] for a_map, size in zip(maps, sizes, strict=True)]
    own = [
        ndimage.zoom(mask, (size[0] / 48, size[1] / 48), order=0)
        for mask, size in zip(masks.numpy(), sizes, strict=True)
    ]
    total = close(maps, [torch.from_numpy(mask) for mask in own], TYPES).total
    pixels = np.concatenate([mask.ravel() for mask in own])
    scores = torch.cat([a_map.flatten() for a_map in resized])
    expected = roc_auc_score(pixels, scores)
    assert total.compute()["pixel_auroc"] == pytest.approx(expected, abs=1e-4)


def test_rows_tell_each_type_from_all_good_images():
    types = ["good", "dent", "good", "spot", "dent", "good"]
    scores = torch.tensor([0.1, 0.9, 0.5, 0.3, 0.4, 0.2])
    rows = metrics_by_type(scores, types, {"dent": {"pixel_auroc": 0.75}})
    assert [(row["defect_type"], row["n_images"]) for row in rows] == [("dent", 2), ("spot", 1)]
    for row in rows:
        chosen = [name in {row["defect_type"], "good"} for name in types]
        labels = [name != "good" for name, kept in zip(types, chosen, strict=True) if kept]
        expected = roc_auc_score(labels, scores[torch.tensor(chosen)])
        assert row["image_auroc"] == pytest.approx(expected)
        assert row["low"] <= row["image_auroc"] <= row["high"]
    assert rows[0]["pixel_auroc"] == 0.75
    assert math.isnan(rows[0]["pixel_aupro"])
    assert math.isnan(rows[1]["pixel_auroc"])


def test_without_good_images_nothing_is_told_apart():
    (row,) = metrics_by_type(torch.tensor([1.0, 2.0]), ["dent", "dent"], {})
    assert all(math.isnan(row[name]) for name in ("image_auroc", "low", "high"))
