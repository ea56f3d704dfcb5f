"""Held-out scores of normal images, and the thresholds that follow from them."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from fre_lightning.errors import ConfigError
from fre_lightning.fitted import FittedBuffers
from fre_lightning.reducers.cross_fit import draw_folds
from fre_lightning.scoring.rule import Scoring
from fre_lightning.scoring.threshold import find_threshold

log = logging.getLogger(__name__)

_MIN_IMAGES = 3  # one is held out, and a subspace takes two


class Thresholds(NamedTuple):
    """The thresholds for a false-alarm rate.

    Attributes:
        image: The image score above which an image is called defective.
        pixel: The value that this share of normal images exceeds anywhere in the anomaly map.
        is_extrapolated: Whether both come from a fitted tail, because there are too few images.
    """

    image: float
    pixel: float
    is_extrapolated: bool


class Calibration(FittedBuffers):
    """Held-out scores of the training images, and thresholds for any false-alarm rate.

    Attributes:
        image_scores: `(N,)` float32, the score of each training image; empty before `fit`.
        map_maxima: `(N,)` float32, the highest value of its normalised error map.
    """

    image_scores: Tensor
    map_maxima: Tensor

    def __init__(self, n_folds: int) -> None:
        """Store settings.

        Args:
            n_folds: The number of folds that training images are dealt to; each fold is scored by
                a subspace of the other folds. At most one fold an image.

        Raises:
            ConfigError: If there are fewer than two folds.
        """
        super().__init__()
        if n_folds < 2:
            msg = f"calibration.n_folds={n_folds} must be at least 2."
            raise ConfigError(msg)
        self.n_folds = n_folds
        self.add_buffers("image_scores", "map_maxima")

    def draw_folds(self, n_images: int) -> Tensor | None:
        """The fold of each training image, `(N,)` int64; None if there are too few images."""
        if n_images < _MIN_IMAGES:
            log.warning(
                "With %d training images none can be held out: no threshold, and maps are not "
                "normalised by position.",
                n_images,
            )
            return None
        return draw_folds(n_images, min(self.n_folds, n_images))

    def fit(self, error_maps: Sequence[Tensor], scoring: Scoring) -> None:
        """Score held-out training images.

        The maps are always PCA's: autoencoders would have to be trained again for each fold, and
        PCA is their optimum.

        Args:
            error_maps: Held-out error maps, `(N, h, w)` of each layer.
            scoring: Is fitted to the maps, and then scores them.
        """
        scoring.fit(error_maps)
        maps = scoring.normalize([m.to(self.image_scores.device) for m in error_maps])
        self.image_scores = scoring.image_score(maps)
        self.map_maxima = maps.amax(dim=(1, 2))

    def thresholds(self, false_alarm_rate: float) -> Thresholds | None:
        """The thresholds that this share of normal images exceeds; None before `fit`."""
        if not len(self.image_scores):
            return None
        image, is_extrapolated = find_threshold(self.image_scores.cpu(), false_alarm_rate)
        pixel, _ = find_threshold(self.map_maxima.cpu(), false_alarm_rate)
        return Thresholds(image, pixel, is_extrapolated)
