import math

import pytest
import torch

from fre_lightning.metrics.bins import N_BINS, score_bins

TINY = torch.finfo(torch.float32).tiny


def test_bins_keep_the_order_over_all_of_float32():
    generator = torch.Generator().manual_seed(0)
    magnitude = 10 ** (torch.rand(10_000, generator=generator) * 75 - 37)
    extremes = torch.tensor([-math.inf, -1e38, -TINY, -0.0, 0.0, TINY, 1e38, math.inf])
    scores = torch.cat([magnitude, -magnitude, extremes]).sort().values
    bins = score_bins(scores)
    assert bins.diff().min() >= 0
    assert bins[0] == 0
    assert bins[-1] == N_BINS - 1


def test_zero_has_one_bin_whether_or_not_others_are_negative():
    assert len(score_bins(torch.tensor([0.0, -0.0])).unique()) == 1
    mixed = score_bins(torch.tensor([0.0, -0.0, -1.0]))
    assert mixed[0] == mixed[1] == score_bins(torch.zeros(1))


@pytest.mark.parametrize("sign", [1, -1])
def test_bins_are_at_most_a_2048th_of_their_value_wide(sign):
    scores = sign * torch.linspace(1, 4, 100_000)
    bins = score_bins(scores)
    for number in bins.unique():
        inside = scores[bins == number]
        assert inside.max() - inside.min() <= inside.abs().min() / 2048


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_read_as_float32(dtype):
    scores = torch.linspace(-3, 1000, 777).to(dtype)
    assert torch.equal(score_bins(scores), score_bins(scores.float()))


def test_a_view_that_is_not_contiguous():
    scores = torch.arange(12.0).view(3, 4)
    assert torch.equal(score_bins(scores.T), score_bins(scores).T)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="2 of 3 scores are NaN"):
        score_bins(torch.tensor([math.nan, 1.0, math.nan]))


def test_empty():
    assert score_bins(torch.zeros(0, 4, 4)).shape == (0, 4, 4)
