import math

import torch

from fre_lightning.metrics.bins import bin_thresholds, score_bins
from fre_lightning.metrics.histogram import ScoreHistogram, Weighted


class Marked(ScoreHistogram):
    """All pixels, and the marked ones, which weigh 3 each."""

    def __init__(self):
        super().__init__(n_kinds=2)

    def _count(self, bins, masks):
        marked = bins[:0].flatten() if masks is None else bins[masks]
        return Weighted(bins.flatten()), Weighted(marked, torch.full(marked.shape, 3))

    def compute(self):
        return self.histogram()


def batches(n=6):
    generator = torch.Generator().manual_seed(0)
    for i in range(n):
        maps = torch.randn(3, 8, 8, generator=generator) * 10**i
        yield maps, torch.rand(3, 8, 8, generator=generator) < 0.2


def filled(chosen):
    metric = Marked()
    for batch in chosen:
        metric.update(*batch)
    return metric


def test_it_counts_what_lies_in_each_bin():
    maps, masks = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    bins, weights = filled(batches()).compute()
    assert torch.equal(bins, score_bins(maps).unique())
    for number, (all_pixels, marked) in zip(bins, weights, strict=True):
        inside = score_bins(maps) == number
        assert all_pixels == inside.sum()
        assert marked == 3 * (inside & masks).sum()


def test_the_range_may_be_as_wide_as_can_be():
    scores = torch.tensor([-math.inf, -1.0, 0.0, 1e-30, 1e30, math.inf])
    bins, weights = filled([(scores.view(1, 2, 3),)]).compute()
    # Rounded to their bins, as `score_bins` says.
    assert torch.allclose(bin_thresholds(bins), scores, rtol=1e-3)
    assert weights[:, 0].tolist() == [1] * 6


def test_what_is_kept_does_not_grow_with_the_images():
    chosen = list(batches(3))
    once, often = filled(chosen), filled(chosen * 20)
    for name in ("bins", "weights"):
        (first,), (second,) = getattr(once, name), getattr(often, name)
        assert first.shape == second.shape


def test_processes_put_theirs_together():
    whole = filled(batches()).compute()
    parts = [filled(list(batches())[i::3]) for i in range(3)]
    # What torchmetrics leaves after a reduction with "cat": one tensor of all processes' own.
    gathered = Marked()
    gathered.bins = torch.cat([part.bins[0] for part in parts])
    gathered.weights = torch.cat([part.weights[0] for part in parts])
    added = Marked()
    for part in parts:
        added.add(part)
    for metric in (gathered, added):
        assert all(torch.equal(a, b) for a, b in zip(metric.histogram(), whole, strict=True))
