"""A merged subspace against PCA of all rows by scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import decomposition

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import PCA

N_OLD, N_NEW = 14, 9
POSITIONS = torch.arange(24) % 6


def draw(n, d, seed, rank=6):
    """Features of one distribution, wherever the mean."""
    shared, generator = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    mixing = torch.randn(rank, d, generator=shared) * torch.arange(1, rank + 1)[:, None]
    features = torch.randn(n, rank, generator=generator) @ mixing + seed
    return features + 0.1 * torch.randn(n, d, generator=generator)


def update(n_components, d, old, new):
    reducer = PCA(n_components)
    reducer.fit(FeatureMatrix([old]))
    return reducer, reducer.update(FeatureMatrix([new]))


def oracle(n_components, rows):
    return decomposition.PCA(n_components, svd_solver="full").fit(rows.double().numpy())


@pytest.mark.parametrize("d", [5, 24])  # less and more than images
def test_nothing_is_lost_when_all_axes_were_kept(d):
    old, new = draw(N_OLD, d, 1), draw(N_NEW, d, 2)
    first = PCA(min(N_OLD - 1, d))
    first.fit(FeatureMatrix([old]))
    first.n_components_requested = 4
    first.update(FeatureMatrix([new]))
    pca = oracle(4, torch.cat([old, new]))
    np.testing.assert_allclose(first.mean, pca.mean_, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(first.variances, pca.explained_variance_, rtol=1e-4)
    cosines = np.linalg.svd(first.encoder_weight.numpy() @ pca.components_.T, compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    total = torch.cat([old, new]).double().var(dim=0).sum()
    assert float(first.rest) == pytest.approx(
        float(total) - pca.explained_variance_.sum(), rel=1e-3
    )
    assert int(first.n_rows) == N_OLD + N_NEW


def test_images_one_after_another_are_as_all_at_once():
    rows = draw(20, 24, 3)
    reducer = PCA(11)
    reducer.fit(FeatureMatrix([rows[:12]]))
    reducer.n_components_requested = 19
    for first in (12, 13, 17):
        reducer.update(FeatureMatrix([rows[first : {12: 13, 13: 17, 17: 20}[first]]]))
    pca = oracle(19, rows)
    np.testing.assert_allclose(reducer.variances, pca.explained_variance_, rtol=1e-3)
    np.testing.assert_allclose(reducer.mean, pca.mean_, rtol=1e-4, atol=1e-4)


def test_what_was_dropped_bounds_the_error():
    """The sum of squares of all images outside the merged axes is known within what was lost."""
    old, new = draw(40, 24, 1), draw(30, 24, 2)
    reducer, _ = update(0.9, 24, old, new)
    rows = torch.cat([old, new])
    left_over = float((rows - reducer(rows)).double().square().sum()) / (len(rows) - 1)
    best = oracle(reducer.n_components, rows).explained_variance_.sum()
    total = float(rows.double().var(dim=0).sum())
    lost = 0.1 * float(old.double().var(dim=0).sum()) * (len(old) - 1) / (len(rows) - 1)
    assert total - best <= left_over * (1 + 1e-5)
    assert left_over <= total - best + lost
    # Directions of the new axes may have been lost of the old images: then less is left over.
    assert left_over * (1 - 1e-5) <= float(reducer.rest) <= left_over + lost
    assert float(reducer.rest) <= 0.1 * total


def test_a_share_counts_of_the_whole_variance():
    rows = draw(60, 24, 1)
    reducer, _ = update(0.95, 24, rows[:30], rows[30:])
    whole = oracle(0.95, rows)
    assert reducer.n_components in {whole.n_components_, whole.n_components_ + 1}
    total = float(rows.double().var(dim=0).sum())
    assert float(reducer.variances.sum() + reducer.rest) == pytest.approx(total, rel=1e-4)
    # Of 0.7 the old images lost 0.3; the new ones make up for it.
    for share in (0.7, 0.8, 0.9):
        reducer, _ = update(share, 24, rows[:30], rows[30:])
        assert float(reducer.variances.sum()) >= share * total * (1 - 1e-5)


def test_held_out_errors_are_those_of_scikit_learn_without_the_fold():
    old, new, folds = draw(N_OLD, 24, 1), draw(N_NEW, 24, 2), torch.arange(N_NEW) % 3
    reducer = PCA(N_OLD - 1)
    reducer.fit(FeatureMatrix([old]))
    reducer.n_components_requested = 5
    errors = reducer.update(FeatureMatrix([new])).held_out_errors(POSITIONS, folds, N_NEW)
    for fold in range(3):
        held_out = new[folds == fold].double().numpy()
        pca = oracle(5, torch.cat([old, new[folds != fold]]))
        error = (held_out - pca.inverse_transform(pca.transform(held_out))) ** 2
        expected = error.reshape(-1, 4, 6).sum(axis=1)
        np.testing.assert_allclose(errors[folds == fold], expected, rtol=1e-3)


def test_held_out_rank_keeps_its_share():
    rows = draw(60, 24, 1, rank=3)
    reducer, _ = update("held_out", 24, rows[:30], rows[30:])
    assert reducer.n_components == 3


def test_moments_are_in_the_state_and_may_be_missing_from_an_older_one():
    reducer, _ = update(0.9, 24, draw(12, 24, 1), draw(8, 24, 2))
    state, copy, older = reducer.state_dict(), PCA(0.9), PCA(0.9)
    copy.load_state_dict(state)
    assert copy.has_moments
    assert torch.equal(copy.variances, reducer.variances)
    for name in ("variances", "rest", "n_rows"):
        state.pop(name)
    older.load_state_dict(state)
    assert older.is_fitted
    assert not older.has_moments
