"""The estimator: FRE on flat features, as scikit-learn's pipelines and searches take it."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from omegaconf import DictConfig
from torch import Tensor

from fre_lightning.config import build
from fre_lightning.errors import ConfigError, FREError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.interface.composition import compose_settings
from fre_lightning.reducers import Reducer, train
from fre_lightning.reducers.cross_fit import draw_folds
from fre_lightning.reducers.rank import find_rank
from fre_lightning.scoring.calibration import MIN_IMAGES
from fre_lightning.scoring.threshold import check_rate, find_threshold

try:
    from sklearn.base import BaseEstimator, OutlierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    _message = 'FREDetector needs scikit-learn: pip install "fre-lightning[sklearn]"'
    raise ConfigError(_message) from error


class FREDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Outliers of `(n, D)` features by the squared error of their reconstruction.

    None stands for the default of the configuration, `configs/`.

    Args:
        reducer: `pca`, `tae` or `ae`.
        n_components: A share of the variance in (0, 1), a number, or `held_out`; never more than
            D - 1 components, because what they leave over is the score.
        epochs: Of autoencoders, as the next three: passes over the features.
        lr: Adam's learning rate.
        batch_size: Rows per step.
        space: The coordinates to train in, `span` or `features`.
        false_alarm_rate: The share of normal rows that `predict` may call outliers.
        random_state: Of initial weights and of the order of rows.

    Attributes:
        reducer_: Fitted.
        offset_: The score below which a row is called an outlier. It comes from scores of held-out
            training rows, so that new normal rows keep the rate, too.
        n_features_in_: D.
    """

    def __init__(
        self,
        reducer: str = "pca",
        *,
        n_components: float | str | None = None,
        epochs: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        space: str | None = None,
        false_alarm_rate: float | None = None,
        random_state: Any = 0,
    ) -> None:
        self.reducer = reducer
        self.n_components = n_components
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.space = space
        self.false_alarm_rate = false_alarm_rate
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's
        """Learn the subspace of `(n, D)` features of normal rows: N at least 3, D at least 2.

        Raises:
            ValueError: If a parameter is out of range, or the features do not vary.
        """
        values = validate_data(
            self, X, dtype=np.float32, ensure_min_samples=MIN_IMAGES, ensure_min_features=2
        )
        try:
            self._fit(torch.tensor(values))
        except FREError as error:
            raise ValueError(str(error)) from error
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Minus the squared error of each row, `(n,)`: higher is more normal."""
        check_is_fitted(self)
        rows = torch.tensor(validate_data(self, X, dtype=np.float64, reset=False))
        with torch.inference_mode():
            return -np.asarray(self.reducer_.squared_errors(rows))

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """`score_samples` minus `offset_`: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """1 for each normal row, -1 for each outlier."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _fit(self, rows: Tensor) -> None:
        own: dict[str, Any] = {"reducer": self.reducer}
        for name in ("n_components", "epochs", "lr", "batch_size", "space"):
            if (value := getattr(self, name)) is not None:
                own[f"reducer.{name}"] = value
        if self.false_alarm_rate is not None:
            own["false_alarm_rate"] = self.false_alarm_rate
        cfg = compose_settings(own)
        check_rate(cfg.false_alarm_rate)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(check_random_state(self.random_state).randint(2**31 - 1))
            self.reducer_ = _fit_reducer(cfg.reducer, rows)
            folds = draw_folds(len(rows), min(cfg.calibration.n_folds, len(rows)))
            held_out = torch.empty(len(rows), dtype=torch.float64)
            for fold in range(int(folds.max()) + 1):
                # Refits, not PCA's held-out errors: few steps leave an autoencoder far above these.
                reducer = _fit_reducer(cfg.reducer, rows[folds != fold])
                held_out[folds == fold] = reducer.squared_errors(rows[folds == fold].double())
        self.offset_ = -find_threshold(held_out, cfg.false_alarm_rate)


def _fit_reducer(node: DictConfig, rows: Tensor) -> Reducer:
    """A reducer of at most D - 1 components, fitted to `(n, D)` rows; computes in float64."""
    reducer: Reducer = build(node)
    most, features = rows.shape[1] - 1, FeatureMatrix([rows])
    subspace = reducer.fit(features)
    if find_rank(reducer.n_components_requested, subspace) > most:
        reducer = build(node, n_components=most)
        reducer.fit(features)
    train(reducer)
    return reducer.double()  # so that the score of a row does not depend on those beside it
