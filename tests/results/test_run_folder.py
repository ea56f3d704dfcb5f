import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score, roc_curve

from fre_lightning.results.run_folder import write_curves


def area(curve):
    return float(np.trapezoid(curve["y"], curve["x"]))


@pytest.fixture
def scored():
    """Scores and labels of 20,000 pixels, and their counts."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(20_000, generator=generator) < 0.05
    scores = torch.randn(20_000, generator=generator) + 1.5 * labels
    order = scores.argsort()
    return scores, labels, (labels[order].long(), (~labels[order]).long())


def test_a_thinned_curve_is_short_and_has_the_same_area(tmp_path, scored):
    scores, labels, counts = scored
    path = tmp_path / "curves.json"
    write_curves(path, {"pixel_roc": counts, "pixel_pro": counts}, {"pixel_pro": 0.3})
    curves = json.loads(path.read_text())
    roc, pro = curves["pixel_roc"], curves["pixel_pro"]
    assert path.stat().st_size < 20_000
    assert len(roc["x"]) == len(roc["y"]) <= 301
    assert (roc["x"][0], roc["y"][0], roc["x"][-1], roc["y"][-1]) == (0, 0, 1, 1)
    assert area(roc) == pytest.approx(roc_auc_score(labels, scores), abs=1e-3)
    exact = np.stack(roc_curve(labels, scores, drop_intermediate=False)[:2], axis=1)
    for curve in (roc, pro):  # every point is one of the whole curve
        points = np.array([curve["x"], curve["y"]]).T
        assert cdist(points[:-1], exact).min(axis=1).max() < 1e-5
        assert (np.diff(curve["x"]) >= 0).all()
        assert (np.diff(curve["y"]) >= 0).all()
    assert pro["x"][-1] == 0.3  # between two of its points
    assert pro["y"][-1] == pytest.approx(np.interp(0.3, *exact.T), abs=2e-3)


def test_curves_that_are_not_defined_are_left_out(tmp_path):
    some, none = torch.tensor([1, 2]), torch.tensor([0, 0])
    counts = {"a": (some, none), "b": (none, some), "c": (some, some), "d": (none[:0], none[:0])}
    write_curves(tmp_path / "curves.json", counts, {"c": 0.3})
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert list(curves) == ["c"]
    assert curves["c"] == {"x": [0, 0.3], "y": [0, 0.3]}
