"""The model by itself, without a run: fitted on a few drawn maps."""

import pytest
import torch

from fre_lightning.backbones import Scattering
from fre_lightning.detector.layer import Branch
from fre_lightning.detector.model import FREModel, full_precision
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.standardizer import ChannelStandardizer
from fre_lightning.images.tiling import Tiling
from fre_lightning.reducers import PCA
from fre_lightning.scoring import Calibration, Scoring


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (6, 3, 16, 32), generator=generator, dtype=torch.uint8)


@pytest.fixture
def model():
    """Two tiles of 16x16, each with a subspace of its own."""
    tiling = Tiling([1, 2], 0.0, shared=False, blocks=[1, 1])
    backbone = Scattering("scattering", "order2", 16, 2, 4, True, 0.001, 1, "cbrt")
    branches = [
        Branch(ChannelStandardizer(backbone.compression), [PCA(2), PCA(2)], tiling)
        for _ in backbone.layers
    ]
    scoring = Scoring("top", "top", 0.2, 0.5, "mean", None, 0.0)
    return FREModel(backbone, branches, scoring, Calibration(3, "none"), tiling)


def fit(model, images):
    with torch.inference_mode():
        rows = [
            CachedRows([features.numpy()], list(range(len(images))), [], was_computed=True)
            for features in model.features_of(images)
        ]
    model.fit(rows, torch.device("cpu"), None)
    return model


def test_it_learns_of_images_and_scores_them(model, images):
    assert not model.is_fitted
    assert (model.image_size, model.n_train) == ((16, 32), 0)
    fit(model, images)
    assert model.is_fitted
    assert model.n_train == len(model.calibration.image_scores) == 6
    scores, maps = model(images)
    assert scores.shape == (6,)
    assert maps.shape == (6, 16, 32)
    # What it was fitted on lies nearer to the subspace than when it was held out.
    assert scores.mean() < model.calibration.image_scores.mean()


def test_engines_and_threads_change_nothing(model, images):
    fit(model, images)
    plain = model(images)
    model.accelerate(2)
    with torch.inference_mode():
        accelerated = model(images)
    model.release()
    torch.testing.assert_close(accelerated, plain, rtol=1e-4, atol=1e-5)


def test_errors_are_computed_in_float32_whatever_the_backbones_precision(model, images):
    fit(model, images)
    features = model.features_of(images)
    expected = model.error_maps_of(features)
    with torch.autocast("cpu", torch.bfloat16):
        maps = model.error_maps_of(features)
        with full_precision():
            assert not torch.is_autocast_enabled("cpu")
    assert torch.equal(maps, expected)


def test_further_images_of_a_group_are_held_out_together(model, images, monkeypatch, caplog):
    fit(model, images).calibration.groups = "auto"
    seen = []
    monkeypatch.setattr(Branch, "update", lambda _, rows, folds, *__: seen.append(folds) or rows)
    with torch.inference_mode():
        further = model.features_of(images)
    for groups in ([0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0], None):
        found = None if groups is None else torch.tensor(groups)
        monkeypatch.setattr(f"{FREModel.__module__}.find_groups", lambda _, found=found: found)
        model.update(further)
    in_groups, in_one, alone = (folds.tolist() for folds in seen)
    assert in_groups[::2] == in_groups[1::2]
    assert sorted(in_groups) == sorted(in_one) == sorted(alone) == [0, 0, 1, 1, 2, 2]
    assert in_one == alone
    assert "one recording" in caplog.text
    assert model.n_train == 4 * len(images)
