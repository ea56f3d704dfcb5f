import math

import numpy as np
import pytest
import torch
from scipy import integrate, ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
from torchmetrics import MetricCollection

from fre_lightning.metrics import curves
from fre_lightning.metrics.bins import score_bins
from fre_lightning.metrics.pixel import PixelMetrics
from tests.metrics.test_curves import auroc_tie_bound

SCALES = {
    "unit": torch.sigmoid,
    "hundreds": lambda x: 300 + 100 * x,
    "tiny": lambda x: 1e-12 * torch.sigmoid(x),
    "negative": lambda x: x - 20,
    "heavy-tailed": lambda x: torch.exp(4 * x),
}


def blob_masks(n=4, size=96, seed=0):
    """Some regions of very different size; the last image is good."""
    noise = np.random.default_rng(seed).normal(size=(n, size, size))
    smooth = ndimage.gaussian_filter(noise, (0, 4, 4))
    masks = torch.from_numpy(smooth > 1.6 * smooth.std())
    masks[-1] = False
    return masks


def maps_for(masks, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(masks.shape, generator=generator) + 1.2 * masks


def values_of(metric, *batches):
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


def direct_aupro(maps, masks, limit=0.3):
    """Cover each region at every distinct score, sum trapezoids up to the limit."""
    maps, masks = maps.double().numpy(), masks.numpy()
    regions = []
    for image, mask in zip(maps, masks, strict=True):
        labels, n = ndimage.label(mask, np.ones((3, 3)))
        regions += [np.sort(image[labels == i]) for i in range(1, n + 1)]
    good = np.sort(maps[~masks])
    thresholds = np.unique(maps)[::-1]

    def rate(ascending):
        reached = 1 - np.searchsorted(ascending, thresholds) / len(ascending)
        return np.concatenate([[0], reached])

    fpr, overlap = rate(good), np.mean([rate(region) for region in regions], axis=0)
    inside = fpr < limit
    fpr_inside = np.append(fpr[inside], limit)
    overlap_inside = np.append(overlap[inside], np.interp(limit, fpr, overlap))
    return integrate.trapezoid(overlap_inside, fpr_inside) / limit


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_without_an_update_all_is_nan():
    assert all(math.isnan(value) for value in PixelMetrics().compute().values())


@pytest.mark.parametrize("scale", SCALES)
def test_pixel_metrics_equal_scikit_learn_at_any_scale(scale):
    masks = blob_masks()
    maps = SCALES[scale](maps_for(masks))
    values = values_of(PixelMetrics(), *zip(maps.split(2), masks.split(2), strict=True))
    truth, scores = masks.flatten(), maps.flatten()
    assert values["pixel_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-4)
    assert values["pixel_aupr"] == pytest.approx(average_precision_score(truth, scores), abs=1e-3)
    precision, recall, _ = precision_recall_curve(truth, scores)
    expected = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert values["pixel_f1_max"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("scale", SCALES)
def test_aupro_equals_the_direct_computation_at_any_scale(scale):
    masks = blob_masks()
    maps = SCALES[scale](maps_for(masks))
    values = values_of(PixelMetrics(), (maps, masks))
    assert values["pixel_aupro"] == pytest.approx(direct_aupro(maps, masks), abs=1e-4)


@pytest.mark.parametrize("limit", [0.05, 1.0])
def test_aupro_with_another_limit(limit):
    masks = blob_masks()
    maps = maps_for(masks)
    metric = PixelMetrics()
    metric.update(maps, masks)
    value = float(curves.partial_auroc(metric.kinds().by_region, metric.kinds().good, limit))
    assert value == pytest.approx(direct_aupro(maps, masks, limit), abs=1e-4)


@pytest.mark.parametrize("transform", [torch.log, torch.sqrt, torch.exp, lambda x: x**5 - 7])
def test_monotone_transforms_change_nothing(transform):
    masks = blob_masks()
    maps = torch.sigmoid(maps_for(masks)) + 0.1
    plain = values_of(PixelMetrics(), (maps, masks))
    transformed = values_of(PixelMetrics(), (transform(maps), masks))
    assert transformed.pop("pixel_aupr") == pytest.approx(plain.pop("pixel_aupr"), abs=1e-3)
    assert transformed == pytest.approx(plain, abs=1e-3)
    for order_only in ("pixel_auroc", "pixel_aupro"):
        assert transformed[order_only] == pytest.approx(plain[order_only], abs=1e-4)


def test_aupro_by_hand():
    # Two regions: one pixel that scores above everything, and one of two pixels, half of which
    # lies above 1 of 5 good pixels. At the limit the curve is at 0.5 + 0.5 * 0.5.
    maps = torch.tensor([[[9.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 7, 5]]])
    masks = torch.zeros(1, 3, 4, dtype=torch.bool)
    masks[0, 0, 0] = masks[0, 2, 2] = masks[0, 2, 3] = True
    maps[0, 0, 3] = 6
    value = values_of(PixelMetrics(), (maps, masks))["pixel_aupro"]
    # 0.75 up to 1/9, then 1 at the same rate.
    assert value == pytest.approx((0.75 / 9 + (0.3 - 1 / 9)) / 0.3)


def test_a_perfect_map_has_1_everywhere():
    masks = blob_masks()
    values = values_of(PixelMetrics(), (400.0 + 100 * masks, masks))
    assert values == pytest.approx(dict.fromkeys(values, 1.0))


@pytest.mark.parametrize("spread", [1.0, 0.1, 1e-3])
def test_the_tie_bound_bounds_what_bins_cost(spread):
    masks = blob_masks()
    maps = 100 * (1 + spread * torch.sigmoid(maps_for(masks)))
    metric = PixelMetrics()
    value = values_of(metric, (maps, masks))["pixel_auroc"]
    kinds = metric.kinds()
    bound = auroc_tie_bound(kinds.defects, kinds.good).item()
    error = abs(value - roc_auc_score(masks.flatten(), maps.flatten()))
    assert error <= bound
    assert error <= 1e-4 or spread < 0.1


def test_counts_are_of_the_pixels_in_each_bin():
    masks = blob_masks()
    maps = maps_for(masks)
    bins, metric = score_bins(maps), PixelMetrics()
    for batch in zip(maps.split(2), masks.split(2), strict=True):
        metric.update(*batch)
    assert torch.equal(metric.histogram()[0], bins.unique())
    kinds = metric.kinds()
    for number, defects, good in zip(bins.unique(), kinds.defects, kinds.good, strict=True):
        assert defects == ((bins == number) & masks).sum()
        assert good == ((bins == number) & ~masks).sum()


def test_the_range_may_be_as_wide_as_can_be():
    scores = torch.tensor([-math.inf, -1.0, 0.0, 1e-30, 1e30, math.inf])
    metric = PixelMetrics()
    metric.update(scores.view(1, 2, 3))
    assert torch.equal(metric.histogram()[0], score_bins(scores))
    assert metric.kinds().good.tolist() == [1] * 6


def test_the_state_does_not_grow_with_the_images():
    masks = blob_masks()
    once, often = PixelMetrics(), PixelMetrics()
    once.update(maps_for(masks), masks)
    for _ in range(20):
        often.update(maps_for(masks), masks)
    for name in ("bins", "weights"):
        (first,), (second,) = getattr(once, name), getattr(often, name)
        assert first.shape == second.shape


def test_no_masks_mean_good_images():
    masks = blob_masks()
    maps = maps_for(masks)
    with_zeros = values_of(PixelMetrics(), (maps, masks), (maps, torch.zeros_like(masks)))
    assert values_of(PixelMetrics(), (maps, masks), (maps,)) == with_zeros


@pytest.mark.parametrize("defective", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 5), (1, 1, 1)])
def test_pixels_of_one_class_give_nan(shape, defective):
    values = values_of(PixelMetrics(), (torch.rand(shape), torch.full(shape, defective)))
    assert all(math.isnan(value) for value in values.values())


def test_equal_scores_are_one_tie():
    masks = blob_masks()
    values = values_of(PixelMetrics(), (torch.full(masks.shape, 7.0), masks))
    share = masks.double().mean().item()
    assert values["pixel_auroc"] == pytest.approx(0.5)
    assert values["pixel_aupr"] == pytest.approx(share)
    assert values["pixel_f1_max"] == pytest.approx(2 * share / (1 + share))
    assert values["pixel_aupro"] == pytest.approx(0.15)


def test_infinite_scores_are_ranked():
    maps = torch.tensor([[[math.inf, -math.inf, 0.0, 1.0]]])
    masks = torch.tensor([[[1, 0, 0, 1]]])
    assert values_of(PixelMetrics(), (maps, masks))["pixel_auroc"] == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    masks = blob_masks()
    maps = maps_for(masks).to(dtype)
    expected = values_of(PixelMetrics(), (maps.float(), masks))
    assert values_of(PixelMetrics(), (maps, masks)) == expected
    assert values_of(PixelMetrics(), (maps, masks.to(torch.uint8) * 255)) == expected


def test_halves_merge_to_the_whole():
    masks = blob_masks()
    maps = maps_for(masks)
    first, second = PixelMetrics(), PixelMetrics()
    first.update(maps[:1], masks[:1])
    second.update(maps[1:], masks[1:])
    first.merge_state(second)
    assert first.compute() == values_of(PixelMetrics(), (maps, masks))


def test_histograms_of_processes_add_up():
    masks = blob_masks(n=6)
    maps = 10 ** maps_for(masks)
    whole, added, gathered, *parts = (PixelMetrics() for _ in range(6))
    whole.update(maps, masks)
    for i, part in enumerate(parts):
        part.update(maps[i::3], masks[i::3])
        added.add(part)
    # What torchmetrics leaves after a reduction with "cat": one tensor of all processes' own.
    gathered.bins = torch.cat([part.bins[0] for part in parts])
    gathered.weights = torch.cat([part.weights[0] for part in parts])
    for metric in (gathered, added):
        pairs = zip(metric.histogram(), whole.histogram(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_reset_forgets():
    masks = blob_masks()
    used = PixelMetrics()
    used.update(-maps_for(masks), masks)
    # As Lightning does; updating must still be possible outside of inference mode.
    with torch.inference_mode():
        used.reset()
    batch = maps_for(masks), masks
    assert values_of(used, batch) == values_of(PixelMetrics(), batch)


def test_metrics_work_in_a_collection():
    collection = MetricCollection(
        {"one": PixelMetrics(), "other": PixelMetrics()}, compute_groups=True
    )
    masks = blob_masks()
    batches = [(maps_for(masks, seed), masks) for seed in range(3)]
    values = values_of(collection, *batches)
    for name, metric in (("one", PixelMetrics()), ("other", PixelMetrics())):
        for key, value in values_of(metric, *batches).items():
            assert values[f"{name}_{key}"] == value


def test_updates_leave_no_trace_in_a_checkpoint():
    assert not PixelMetrics().state_dict()


def test_an_empty_batch_changes_nothing():
    masks = blob_masks()
    batch = maps_for(masks), masks
    values = values_of(PixelMetrics(), batch, (batch[0][:0], masks[:0]), (batch[0][:0],))
    assert values == values_of(PixelMetrics(), batch)


def test_bad_input_is_refused():
    maps = torch.rand(2, 4, 4)
    with pytest.raises(ValueError, match=r"masks \(4, 4\)"):
        PixelMetrics().update(maps, torch.ones(4, 4))
    with pytest.raises(ValueError, match="masks missing"):
        PixelMetrics().update(maps[0])
    with pytest.raises(ValueError, match="NaN"):
        PixelMetrics().update(maps / 0 * 0)


# --- AUPIMO


def direct_aupimo(maps, masks, bounds):
    """Integrate every defective image's true positive rate over log(false positive rate)."""
    defective = masks.flatten(1).any(1)
    good = np.sort(maps[~defective].double().numpy().ravel())
    areas = []
    for image, mask in zip(maps[defective], masks[defective], strict=True):
        grid = np.linspace(*np.log(bounds), 20_001)
        grid = (grid[1:] + grid[:-1]) / 2
        # The lowest threshold that at most this rate of good pixels reaches.
        n_above = np.floor(np.exp(grid) * len(good) + 1e-9).astype(int)
        threshold = good[len(good) - 1 - n_above]
        scores = np.sort(image[mask].double().numpy())
        areas.append(np.mean(1 - np.searchsorted(scores, threshold, "right") / len(scores)))
    return np.mean(areas)


@pytest.mark.parametrize("scale", SCALES)
def test_aupimo_equals_the_direct_computation(scale):
    masks = blob_masks(n=5)
    masks[0] = False
    maps = SCALES[scale](maps_for(masks))
    bounds = (1e-3, 1e-1)
    metric = PixelMetrics()
    values_of(metric, *zip(maps.split(2), masks.split(2), strict=True))
    kinds = metric.kinds()
    value = float(curves.aupimo(kinds.by_image, kinds.normal, bounds))
    assert value == pytest.approx(direct_aupimo(maps, masks, bounds), abs=2e-3)


def test_aupimo_of_a_perfect_map_is_1():
    masks = blob_masks()
    assert values_of(PixelMetrics(), (masks.float(), masks))["pixel_aupimo"] == pytest.approx(1)


def test_aupimo_needs_good_images():
    masks = blob_masks()[:2]
    assert math.isnan(values_of(PixelMetrics(), (maps_for(masks), masks))["pixel_aupimo"])


def test_pixels_that_do_not_count_change_nothing():
    """The same as maps of which these are cut off, whatever they hold."""
    masks = blob_masks()
    maps, regions = maps_for(masks), torch.zeros_like(masks)
    regions[:, 10:50, 30:] = True
    assert masks[:, 10:50, 30:].any()
    expected = values_of(PixelMetrics(), (maps[:, 10:50, 30:], masks[:, 10:50, 30:]))
    spoilt = torch.where(regions, maps, 5.0), torch.where(regions, masks, ~masks)
    assert values_of(PixelMetrics(), (*spoilt, regions)) == expected
    good = (
        values_of(PixelMetrics(), (maps[:, 10:50, 30:],)),
        values_of(PixelMetrics(), (spoilt[0], None, regions)),
    )
    assert [str(values) for values in good] == [str(good[0])] * 2
