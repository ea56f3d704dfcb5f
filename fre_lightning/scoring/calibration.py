"""What normal images score when they are not trained on, from which decisions follow."""

import logging
from collections.abc import Sequence

from torch import Tensor

from fre_lightning.errors import ConfigError
from fre_lightning.fitted import FittedBuffers
from fre_lightning.reducers.cross_fit import draw_folds
from fre_lightning.scoring.rule import Scoring
from fre_lightning.scoring.threshold import Threshold, find_threshold

log = logging.getLogger(__name__)

# Two images are needed to learn from when the third is held out.
_MIN_IMAGES = 3


class Calibration(FittedBuffers):
    """Held-out scores of the training images; thresholds for any false-alarm rate follow.

    Attributes:
        image_scores: `(N,)` float32, of each training image; empty before `fit`.
        map_maxima: `(N,)` float32, the highest value of each one's normalised error map.
    """

    image_scores: Tensor
    map_maxima: Tensor

    def __init__(self, n_folds: int) -> None:
        """Store settings.

        Args:
            n_folds: Into how many folds training images are dealt; each is scored by a subspace
                of the other folds.

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
        """Which fold each training image is held out with, `(N,)`; None if there are too few."""
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

        Autoencoders would have to be trained again for each fold; PCA, their optimum, stands in.

        Args:
            error_maps: `(N, h, w)` of each layer, held out.
            scoring: Learns what is normal from the maps, and scores them.
        """
        scoring.fit(error_maps)
        maps = scoring.normalize([m.to(self.image_scores.device) for m in error_maps])
        self.image_scores = scoring.image_score(maps)
        self.map_maxima = maps.amax(dim=(1, 2))

    def image_threshold(self, false_alarm_rate: float) -> Threshold | None:
        """The image score that a share of normal images exceeds; None before `fit`."""
        return _threshold(self.image_scores, false_alarm_rate)

    def pixel_threshold(self, false_alarm_rate: float) -> Threshold | None:
        """The map value that a share of normal images exceeds anywhere; None before `fit`."""
        return _threshold(self.map_maxima, false_alarm_rate)


def _threshold(scores: Tensor, rate: float) -> Threshold | None:
    return find_threshold(scores.cpu(), rate) if len(scores) else None
