import pickle
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fre_lightning
from fre_lightning.errors import ConfigError
from fre_lightning.interface.estimator import FREDetector


@pytest.fixture
def rows():
    """200 normal rows near a plane in six dimensions, and 50 outliers."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(2, 6))
    normal = rng.normal(size=(200, 2)) @ axes + 0.1 * rng.normal(size=(200, 6))
    return normal, rng.normal(size=(50, 2)) @ axes + rng.normal(size=(50, 6))


@parametrize_with_checks([FREDetector()])
def test_it_keeps_the_promises_of_estimators(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([FREDetector("tae", epochs=5)])
def test_an_autoencoder_keeps_them_too(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n_components", [2, 0.9])
def test_the_score_is_the_reconstruction_error(rows, n_components):
    normal, outliers = rows
    detector, pca = (
        FREDetector(n_components=n_components).fit(normal),
        PCA(n_components).fit(normal),
    )
    errors = ((outliers - pca.inverse_transform(pca.transform(outliers))) ** 2).sum(1)
    np.testing.assert_allclose(detector.score_samples(outliers), -errors, rtol=1e-4)
    decisions = detector.decision_function(outliers)
    np.testing.assert_allclose(decisions, detector.score_samples(outliers) - detector.offset_)
    np.testing.assert_array_equal(detector.predict(outliers), np.where(decisions < 0, -1, 1))


@pytest.mark.parametrize("parameters", [{}, {"reducer": "tae", "lr": 0.02}])
def test_new_normal_rows_keep_the_false_alarm_rate(rows, parameters):
    normal, outliers = rows
    detector = FREDetector(n_components=2, false_alarm_rate=0.2, **parameters).fit(normal[:100])
    assert (detector.predict(normal[100:]) == -1).mean() == pytest.approx(0.2, abs=0.1)
    assert (detector.predict(outliers) == -1).mean() > 0.9
    again = pickle.loads(pickle.dumps(clone(detector).fit(normal[:100])))
    assert np.array_equal(again.score_samples(outliers), detector.score_samples(outliers))


def test_it_works_in_pipelines_and_searches(rows):
    X, y = np.concatenate(rows), np.repeat([1, -1], [200, 50])
    pipeline = make_pipeline(StandardScaler(), FREDetector(n_components=2))
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    assert cross_val_score(pipeline, X, y, scoring="roc_auc", cv=folds).mean() > 0.9
    grid = {"fredetector__n_components": [1, 2], "fredetector__reducer": ["pca"]}
    search = GridSearchCV(pipeline, grid, scoring="roc_auc", cv=folds).fit(X, y)
    assert search.best_params_["fredetector__n_components"] == 2


def test_something_is_always_left_over():
    X = np.random.default_rng(0).normal(size=(50, 3))
    for reducer in ("pca", "tae"):
        detector = FREDetector(reducer, n_components=0.999, epochs=3 if reducer == "tae" else None)
        assert detector.fit(X).reducer_.n_components == 2
        assert np.ptp(detector.score_samples(X)) > 0.1


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"reducer": "pcb"}, "reducer/pcb"),
        ({"epochs": 3}, "reducer.epochs is not a setting"),
        ({"false_alarm_rate": 2}, "between 0 and 1"),
        ({"n_components": 1.5}, "n_components"),
    ],
)
def test_a_mistake_is_a_value_error(rows, parameters, words):
    with pytest.raises(ValueError, match=words):
        FREDetector(**parameters).fit(rows[0])


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "fre_lightning.interface.estimator")
    with pytest.raises(ConfigError, match=r"fre-lightning\[sklearn\]"):
        fre_lightning.FREDetector  # noqa: B018
