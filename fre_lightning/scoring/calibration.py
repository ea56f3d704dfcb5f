"""Held-out scores of normal images, and the thresholds that follow from them."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fre_lightning.errors import ConfigError, DatasetError
from fre_lightning.fitted import FittedBuffers
from fre_lightning.reducers.cross_fit import draw_folds
from fre_lightning.scoring.fusion import finest
from fre_lightning.scoring.groups import deal_groups, effective_number
from fre_lightning.scoring.rule import Scoring, Weights
from fre_lightning.scoring.threshold import find_threshold, n_images_needed

log = logging.getLogger(__name__)

MIN_IMAGES = 3  # one is held out, and a subspace takes two
_MIN_GROUPS = 19  # with fewer, a rate of 5 % among groups cannot be observed


class Thresholds(NamedTuple):
    """The thresholds for a false-alarm rate.

    Attributes:
        image: The image score above which an image is called defective.
        pixel: The value that this share of normal images exceeds anywhere in the anomaly map.
    """

    image: float
    pixel: float


class Calibration(FittedBuffers):
    """Held-out scores of the training images, and thresholds for any false-alarm rate.

    Args:
        n_folds: The number of folds that training images are dealt to; each fold is scored by a
            subspace of the other folds. At most one fold an image.
        groups: Which images are held out together: `auto`, `none`, or a rule that names them
            (`fre_lightning.datasets.groups`).

    Raises:
        ConfigError: If there are fewer than two folds.

    Attributes:
        n_groups: The number of groups, set by `draw_folds`; None if each image is one of its own.
        image_scores: `(N,)` float32, the score of each training image, or of each later one after
            `refit`; empty before `fit`.
        map_maxima: `(N,)` float32, the highest value of its normalised error map.
    """

    image_scores: Tensor
    map_maxima: Tensor

    def __init__(self, n_folds: int, groups: str) -> None:
        super().__init__()
        if n_folds < 2:
            msg = f"calibration.n_folds={n_folds} must be at least 2."
            raise ConfigError(msg)
        self.n_folds = n_folds
        self.groups = str(groups)
        self.n_groups: int | None = None
        self.add_buffers("image_scores", "map_maxima")

    def draw_folds(self, n_images: int, groups: Tensor | None = None) -> Tensor | None:
        """The fold of each training image.

        Args:
            n_images: N.
            groups: `(N,)` int64 from 0 to G - 1, the group of each image; None if each is its own.

        Returns:
            `(N,)` int64; None if there are too few images.

        Raises:
            ConfigError: If all images belong to one group.
        """
        if n_images < MIN_IMAGES:
            log.warning(
                "With %d training images none can be held out: no threshold, and maps are not "
                "normalised by position.",
                n_images,
            )
            return None
        if groups is None:
            return draw_folds(n_images, min(self.n_folds, n_images))
        self.n_groups = int(groups.max()) + 1
        if self.n_groups < 2:
            msg = (
                f"All {n_images} training images are of one group (calibration.groups="
                f"{self.groups}), so that none can be held out. Use calibration.groups=none."
            )
            raise ConfigError(msg)
        log.info("%d good images in %d groups, held out as such", n_images, self.n_groups)
        if effective_number(groups) < _MIN_GROUPS:
            log.warning(
                "The %d good images are few recordings: %d groups of images that belong together. "
                "Thresholds hold for parts as in these recordings; those of another day may look "
                "different: python -m fre_lightning.calibrate takes some of them.",
                n_images,
                self.n_groups,
            )
        return deal_groups(groups, self.n_folds)

    def fit(self, error_maps: Sequence[Tensor], scoring: Scoring, weights: Weights = None) -> None:
        """Score held-out training images.

        Args:
            error_maps: Held-out error maps, `(N, h, w)` of each layer; always PCA's, the optimum
                of autoencoders, which would have to be trained again for each fold.
            scoring: Is fitted to the maps, and then scores them.
            weights: Of the cells in each of the images, see `Scoring.normalize`.
        """
        scoring.fit(error_maps, weights=weights)
        maps = [m.to(self.image_scores.device) for m in error_maps]
        self.image_scores, self.map_maxima = _judge(maps, weights, scoring)

    def refit(
        self, error_maps: Sequence[Tensor], scoring: Scoring, weights: Weights = None
    ) -> None:
        """Score normal images that the model has not learnt from, instead of the training images.

        Args:
            error_maps: Their error maps, `(N, h, w)` of each layer.
            scoring: Is fitted to the maps. Each fold is scored by what the other folds teach: few
                images divided by their own mean would score too low.
            weights: As in `fit`.

        Raises:
            DatasetError: If there are fewer than three images.
        """
        n_images = len(error_maps[0])
        if n_images < MIN_IMAGES:
            msg = f"A calibration takes at least {MIN_IMAGES} good images; there are {n_images}."
            raise DatasetError(msg)
        prior = scoring.expected if len(scoring.expected) else None
        layers = [maps.to(self.image_scores.device) for maps in error_maps]
        folds = draw_folds(n_images, min(self.n_folds, n_images)).to(layers[0].device)
        scores, maxima = layers[0].new_empty(2, n_images)
        for fold in torch.unique(folds):
            is_kept = folds != fold
            scoring.fit(_some(layers, is_kept), prior, weights and _some(weights, is_kept))
            held_out = _some(layers, ~is_kept), weights and _some(weights, ~is_kept)
            scores[~is_kept], maxima[~is_kept] = _judge(*held_out, scoring)
        scoring.fit(layers, prior, weights)
        self.image_scores, self.map_maxima = scores, maxima

    def extend(
        self, error_maps: Sequence[Tensor], scoring: Scoring, weights: Weights = None
    ) -> None:
        """Add the scores of further held-out images, divided by the errors expected so far.

        Args:
            error_maps: Their error maps, `(N, h, w)` of each layer.
            scoring: Stays as it is.
            weights: As in `fit`.
        """
        maps = [m.to(self.image_scores.device) for m in error_maps]
        scores, maxima = _judge(maps, weights, scoring)
        self.image_scores = torch.cat([self.image_scores, scores])
        self.map_maxima = torch.cat([self.map_maxima, maxima])

    def thresholds(self, false_alarm_rate: float) -> Thresholds | None:
        """The thresholds that this share of normal images exceeds; None before `fit`."""
        if not len(self.image_scores):
            return None
        image, pixel = (
            find_threshold(scores.cpu(), false_alarm_rate)
            for scores in (self.image_scores, self.map_maxima)
        )
        if len(self.image_scores) < (n_needed := n_images_needed(false_alarm_rate)):
            log.warning(
                "A false-alarm rate of %g takes %d good images to observe and there are %d: "
                "the threshold is extrapolated.",
                false_alarm_rate,
                n_needed,
                len(self.image_scores),
            )
        return Thresholds(image, pixel)


def _some(layers: Sequence[Tensor], chosen: Tensor) -> list[Tensor]:
    """Some of the maps of each layer."""
    return [maps[chosen] for maps in layers]


def _judge(
    error_maps: Sequence[Tensor], weights: Weights, scoring: Scoring
) -> tuple[Tensor, Tensor]:
    """The scores `(N,)` of error maps, and the highest values `(N,)` of their normalised maps."""
    maps = scoring.normalize(error_maps, weights)
    scores = scoring.image_score(maps, None if weights is None else finest(weights))
    return scores, maps.amax(dim=(1, 2))
