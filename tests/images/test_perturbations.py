"""What is done to images of good parts: little, always the same, and of the kind that it says."""

import numpy as np
import pytest

from fre_lightning.images.perturbations import CORRUPTIONS, PERTURBATIONS

Y, X = np.mgrid[:60, :80]
SMOOTH = np.stack([100 + Y, 90 + X, 160 - Y], axis=-1).astype(np.uint8)
ROUGH = SMOOTH + np.random.default_rng(0).integers(0, 6, SMOOTH.shape).astype(np.uint8)


def change(name, levels, seed=0):
    return PERTURBATIONS[name](levels, np.random.default_rng(seed))


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("levels", [ROUGH, ROUGH[..., 0]], ids=["colour", "grey"])
def test_images_keep_their_shape_and_nearly_their_levels(name, levels):
    changed = change(name, levels)
    assert (changed.shape, changed.dtype) == (levels.shape, np.uint8)
    assert np.array_equal(changed, change(name, levels))
    difference = np.abs(changed.astype(float) - levels)
    assert 0 < difference.mean() < 8


def test_light_noise_and_shifts_are_of_their_size():
    plain = np.full((100, 100, 3), 100, np.uint8)
    assert (change("brightness +5", plain) == 105).all()
    assert (change("gain +3 %", plain) == 103).all()
    grey = change("noise 2", plain)
    assert (grey == grey[..., :1]).all()  # grey stays grey
    assert grey.std() == pytest.approx(2, rel=0.1)
    moved = change("shift 4", SMOOTH).astype(int)
    dy, dx = np.median(moved - SMOOTH, axis=(0, 1))[:2]  # what the slopes of 1 turn it into
    assert {abs(dy), abs(dx)} in ({4}, {0, 4})


def test_chroma_is_stored_at_half_the_resolution_unless_said():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 200, 200  # red and blue columns
    lost, kept = (
        np.abs(change(name, stripes).astype(int) - stripes).mean()
        for name in ("jpeg 85", "jpeg 85, 4:4:4")
    )
    assert lost > 3 * kept


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_spoils_images_changes_them_much(name):
    changed = CORRUPTIONS[name](ROUGH, np.random.default_rng(0))
    assert (changed.shape, changed.dtype) == (ROUGH.shape, np.uint8)
    assert np.abs(changed.astype(float) - ROUGH).mean() > 0.9
    assert name != "inverted" or np.array_equal(changed, 255 - ROUGH)
