import math

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.spatial.distance import cdist
from sklearn import metrics as sklearn_metrics
from torch.utils.tensorboard import SummaryWriter

from fre_lightning.metrics import curves

NUMBERS = [curves.auroc, curves.average_precision, curves.f1_max]


def random_scores(n=500, ties=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(n, generator=generator) < 0.3
    scores = torch.randn(n, generator=generator) + labels
    return (scores.mul(3).round() if ties else scores), labels


def sklearn_f1_max(labels, scores):
    precision, recall, _ = sklearn_metrics.precision_recall_curve(labels, scores)
    return np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))


ORACLES = [
    (curves.auroc, sklearn_metrics.roc_auc_score),
    (curves.average_precision, sklearn_metrics.average_precision_score),
    (curves.f1_max, sklearn_f1_max),
    (
        lambda positives, negatives: curves.partial_auroc(positives, negatives, 1.0),
        sklearn_metrics.roc_auc_score,
    ),
]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("ours", "oracle"), ORACLES)
def test_numbers_equal_scikit_learn(ours, oracle, ties):
    scores, labels = random_scores(ties=ties)
    positives, negatives = curves.count(scores, labels)
    expected = oracle(labels.numpy(), scores.numpy())
    assert ours(positives, negatives).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_roc_curve_equals_scikit_learn(ties):
    scores, labels = random_scores(ties=ties)
    positives, negatives = curves.count(scores, labels)
    fpr, tpr = curves.roc_curve(positives, negatives)
    expected_fpr, expected_tpr, _ = sklearn_metrics.roc_curve(
        labels, scores, drop_intermediate=False
    )
    np.testing.assert_allclose(fpr, expected_fpr)
    np.testing.assert_allclose(tpr, expected_tpr)


@pytest.mark.parametrize("ties", [False, True])
def test_precision_recall_curve_is_the_reverse_of_scikit_learns(ties):
    scores, labels = random_scores(ties=ties)
    positives, negatives = curves.count(scores, labels)
    precision, recall = curves.precision_recall_curve(positives, negatives)
    expected_precision, expected_recall, _ = sklearn_metrics.precision_recall_curve(labels, scores)
    np.testing.assert_allclose(precision, expected_precision[::-1])
    np.testing.assert_allclose(recall, expected_recall[::-1])


def test_a_case_by_hand():
    scores = torch.tensor([1.0, 2.0, 2.0, 3.0, -math.inf])
    labels = torch.tensor([0, 1, 0, 1, 0])
    positives, negatives = curves.count(scores, labels)
    assert positives.tolist() == [0, 0, 1, 1]
    assert negatives.tolist() == [1, 1, 1, 0]
    assert curves.auroc(positives, negatives).item() == pytest.approx(5.5 / 6)
    assert curves.average_precision(positives, negatives).item() == pytest.approx(5 / 6)
    assert curves.f1_max(positives, negatives).item() == pytest.approx(4 / 5)


def test_partial_auroc_interpolates_at_the_limit():
    # From (0, 0) to (0, 0.5) to (0.4, 1) to (1, 1): at 0.2 the curve is at 0.75.
    positives, negatives = torch.tensor([0, 1, 1]), torch.tensor([3, 2, 0])
    assert curves.partial_auroc(positives, negatives, 0.2).item() == pytest.approx(0.625)
    assert curves.partial_auroc(positives, negatives, 0.4).item() == pytest.approx(0.75)
    perfect = torch.tensor([0, 1]), torch.tensor([1, 0])
    assert curves.partial_auroc(*perfect, 0.3).item() == pytest.approx(1)


def auroc_tie_bound(positives, negatives):
    """Half the probability that a positive and a negative tie: the most that ties can change."""
    ties = (positives.double() * negatives).sum()
    return ties / 2 / (positives.sum() * negatives.sum())


def test_equal_scores_are_one_tie():
    positives, negatives = curves.count(torch.ones(4), torch.tensor([1, 0, 0, 0]))
    assert curves.auroc(positives, negatives) == 0.5
    assert auroc_tie_bound(positives, negatives) == 0.5
    assert curves.average_precision(positives, negatives) == 0.25
    assert curves.f1_max(positives, negatives).item() == pytest.approx(0.4)
    assert curves.partial_auroc(positives, negatives, 0.3).item() == pytest.approx(0.15)


@pytest.mark.parametrize("labels", [[], [0], [1], [0, 0, 0], [1, 1, 1]])
def test_one_class_gives_nan(labels):
    scores = torch.arange(len(labels)).float()
    positives, negatives = curves.count(scores, torch.tensor(labels, dtype=torch.int64))
    numbers = [number(positives, negatives) for number in NUMBERS]
    numbers += [
        curves.partial_auroc(positives, negatives, 0.3),
        curves.aupimo(positives, negatives),
    ]
    assert all(number.isnan() for number in numbers)


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        curves.count(torch.tensor([1.0, math.nan]), torch.tensor([0, 1]))


def test_leading_dimensions_are_batches():
    generator = torch.Generator().manual_seed(0)
    positives, negatives = torch.randint(0, 3, (2, 5, 20), generator=generator)
    positives[3] = 0
    numbers = [*NUMBERS, curves.aupimo, lambda p, n: curves.partial_auroc(p, n, 0.3)]
    for number in numbers:
        each = torch.stack([number(p, n) for p, n in zip(positives, negatives, strict=True)])
        torch.testing.assert_close(number(positives, negatives), each, equal_nan=True)
        assert each.isnan().tolist() == [False, False, False, True, False]


def test_counts_above_2_to_the_24_stay_exact():
    positives, negatives = torch.tensor([1, 2**40]), torch.tensor([2**40 + 1, 1])
    assert curves.roc_curve(positives, negatives)[0][1].item() == 1 / (2**40 + 2)


@pytest.mark.parametrize("n_bins", [1, 10, 127, 10_000])
def test_merged_counts_keep_the_curve(n_bins):
    positives, negatives = curves.count(*random_scores(3000))
    merged = curves.merge_counts(positives, negatives, n_bins)
    assert len(merged[0]) <= min(n_bins, 3000)
    assert [int(counts.sum()) for counts in merged] == [positives.sum(), negatives.sum()]
    every = set(zip(*(x.tolist() for x in curves.roc_curve(positives, negatives)), strict=True))
    kept = set(zip(*(x.tolist() for x in curves.roc_curve(*merged)), strict=True))
    assert kept <= every
    lost = abs(curves.auroc(*merged) - curves.auroc(positives, negatives)).item()
    assert lost <= auroc_tie_bound(*merged).item() <= 2 / n_bins


@pytest.mark.parametrize("counts", [([], []), ([0, 0], [1, 2]), ([3], [4])])
def test_merging_degenerate_counts(counts):
    positives, negatives = torch.tensor(counts, dtype=torch.int64)
    merged = curves.merge_counts(positives, negatives, 5)
    assert [int(x.sum()) for x in merged] == [positives.sum(), negatives.sum()]


def test_pr_curve_counts_are_what_tensorboard_takes(tmp_path):
    scores, labels = random_scores(2000)
    positives, negatives = curves.count(scores, labels)
    raw = curves.pr_curve_counts(*curves.merge_counts(positives, negatives, 127))
    assert raw["num_thresholds"] == len(raw["recall"]) <= 127
    assert raw["recall"][0] == 1
    assert raw["recall"].diff().max() <= 0
    kinds = ["true_positive", "false_positive", "true_negative", "false_negative"]
    assert torch.equal(
        sum(raw[f"{kind}_counts"] for kind in kinds), torch.full_like(raw["recall"], 2000)
    )
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_pr_curve_raw("pixels", **raw)


def test_aupimo_averages_over_the_logarithm_of_the_false_positive_rate():
    # Above rates of 0, 0.01 and 1: the top pixel gains the whole range, the middle one half of it.
    positives, normal = torch.tensor([1, 1, 2]), torch.tensor([99, 1, 0])
    area = curves.aupimo(positives, normal, fpr_bounds=(0.001, 0.1))
    assert area.item() == pytest.approx((2 * 1 + 1 * 0.5 + 1 * 0) / 4)


def area(curve):
    return float(integrate.trapezoid(curve["y"], curve["x"]))


@pytest.fixture
def scored():
    """Scores and labels of 20,000 pixels, and their counts."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(20_000, generator=generator) < 0.05
    scores = torch.randn(20_000, generator=generator) + 1.5 * labels
    order = scores.argsort()
    return scores, labels, (labels[order].long(), (~labels[order]).long())


def test_points_of_a_curve_are_few_and_have_the_same_area(scored):
    scores, labels, counts = scored
    roc, pro = curves.curve_points(*counts), curves.curve_points(*counts, 0.3)
    assert len(roc["x"]) == len(roc["y"]) <= 301
    assert (roc["x"][0], roc["y"][0], roc["x"][-1], roc["y"][-1]) == (0, 0, 1, 1)
    assert area(roc) == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores), abs=1e-3)
    exact = np.stack(sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)[:2], axis=1)
    for curve in (roc, pro):  # every point is one of the whole curve
        points = np.array([curve["x"], curve["y"]]).T
        assert cdist(points[:-1], exact).min(axis=1).max() < 1e-5
        assert (np.diff(curve["x"]) >= 0).all()
        assert (np.diff(curve["y"]) >= 0).all()
    assert pro["x"][-1] == 0.3  # between two of its points
    assert pro["y"][-1] == pytest.approx(np.interp(0.3, *exact.T), abs=2e-3)


def test_a_curve_that_is_not_defined_has_no_points():
    some, none = torch.tensor([1, 2]), torch.tensor([0, 0])
    for undefined in ((some, none), (none, some), (none[:0], none[:0])):
        assert curves.curve_points(*undefined) is None
    assert curves.curve_points(some, some, 0.3) == {"x": [0, 0.3], "y": [0, 0.3]}
