"""Similarity of images, against numpy."""

import numpy as np
import pytest
import torch

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.similarity import directions, near_copy_bound, nearest

RNG = np.random.default_rng(0)
LEARNT = RNG.standard_normal((40, 30)).astype(np.float32)
JUDGED = RNG.standard_normal((6, 30)).astype(np.float32)


def parts(rows, n_parts):
    return [FeatureMatrix([part]) for part in np.split(rows, n_parts, axis=1)]


@pytest.mark.parametrize("n_parts", [1, 3])
def test_the_nearest_is_that_of_plain_cosines(n_parts):
    mean = LEARNT.mean(axis=0)
    first, second = JUDGED - mean, LEARNT - mean
    expected = first @ second.T
    expected /= np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)
    learnt = parts(LEARNT, n_parts)
    cosines, indices = nearest(*reversed(directions(learnt, parts(JUDGED, n_parts))))
    np.testing.assert_allclose(cosines, expected.max(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(indices, expected.argmax(axis=1))


def test_an_image_is_not_its_own_neighbour():
    (rows,) = directions(parts(np.concatenate([LEARNT, LEARNT[:1]]), 1))
    cosines, indices = nearest(rows, rows, is_same=True)
    assert (int(indices[0]), int(indices[40])) == (40, 0)
    assert float(cosines[1:40].max()) < 0.9 < float(cosines[0])


def test_near_copies_are_told_from_parts_that_all_lie_alike():
    scene = RNG.standard_normal(400)
    for share in (0.1, 3.0):  # of what all have in common, and of another in two groups
        group = np.where(np.arange(60)[:, None] < 30, 1, -1) * scene * share
        rows = group + RNG.standard_normal((60, 400))
        rows[41] = rows[7] + 0.2 * RNG.standard_normal(400) * np.abs(rows[7]).mean()
        (found,) = directions(parts(rows.astype(np.float32), 1))
        cosines, _ = nearest(found, found, is_same=True)
        assert (cosines >= near_copy_bound(found)).nonzero().flatten().tolist() == [7, 41]


def test_many_images_are_compared_in_blocks():
    rows = torch.nn.functional.normalize(torch.randn(2100, 5), dim=1)
    cosines, indices = nearest(rows, rows, is_same=True)
    whole = (rows @ rows.T).fill_diagonal_(-1).max(dim=1)
    torch.testing.assert_close(cosines, whole.values)
    assert torch.equal(indices, whole.indices)
