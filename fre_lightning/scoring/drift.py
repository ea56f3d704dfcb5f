"""Whether a stream of images still looks like the normal ones: a sequential test of p-values.

Two conformal test martingales (Vovk, Nouretdinov and Gammerman 2003, "Testing exchangeability
on-line"): a gambler without advantage bets on the rank of each image before it is seen. While the
images are exchangeable, ranks are uniform, and the capital ever exceeds c times its start, in an
endless stream, with a probability of at most 1 / c (Ville 1939).

- That scores get higher is bet on ranks among the normal images *and* the stream before. N normal
  scores alone are too few to stand for their distribution, which a long stream would betray. Of the
  N + 1 cells between them, the next image falls into one with a probability in proportion to one
  plus the number that fell there before (Polya's urn), which is exact, in constant memory.
- That scores get lower is bet on ranks within the stream alone. Held-out scores are a little higher
  than those of new images, whose model has seen all normal ones, and this must not count.

Bets are linear in the rank, so an image gains at most a factor below two however small its p-value
is: a few defective parts are no drift, many more than before are. A share 1 / (n (n + 1)) of the
capital starts to bet at image n, so that no change comes too late to be noticed. (Vovk et al. 2021,
"Retrain or not retrain", compare martingales for change points.)
"""

import math
import threading
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FALSE_ALARM_CHANCE = 0.001
"""That a stream without change, however long, is ever called drifting."""

_SLOPES = np.array([-1.5, -0.75, 0.75, 1.5])  # below 2 in size, so that no image ruins a bet
_HIGHER, _LOWER = _SLOPES < 0, _SLOPES > 0  # what they bet on: high scores have low ranks
_LARGEST = 1e100  # a capital that needs no more growth, far from overflow


class Drift(NamedTuple):
    """What is known of a stream's drift.

    Attributes:
        n_images: Images so far.
        evidence: The larger capital of both tests, halved. Without drift it is ever above c in at
            most a share 1 / c of streams.
        noticed_at: The number of the image, from 1, at which drift was noticed; None if it wasn't.
        since: The number of the image from which on the change explains the stream best.
        since_image: The name of this image, if it has one.
        scores: Whether scores have been `higher` or `lower` since.
    """

    n_images: int = 0
    evidence: float = 0.5
    noticed_at: int | None = None
    since: int | None = None
    since_image: str | None = None
    scores: Literal["higher", "lower"] | None = None

    def __str__(self) -> str:
        if self.noticed_at is None:
            return f"No drift within {self.n_images} images."
        return (
            f"Drift: from image {self.since}"
            f"{f' ({self.since_image})' if self.since_image else ''} on, scores are {self.scores} "
            f"than before, noticed at image {self.noticed_at}. Without any change this is said in "
            f"at most 1 of {1 / FALSE_ALARM_CHANCE:.0f} streams. Look for changes in lighting, "
            "camera or parts, or a larger share of defects."
        )


class DriftMonitor:
    """Watches the p-values of a stream; threads may share one.

    Args:
        n_normal: The number of normal images, N, that p-values refer to.

    Attributes:
        state: What is known so far.
    """

    def __init__(self, n_normal: int) -> None:
        self.state = Drift()
        self._weights = np.ones(n_normal + 1)  # of the cells, that of the highest scores first
        self._capital = np.zeros(len(_SLOPES))
        self._gains = np.zeros(len(_SLOPES))  # logarithms, since the likeliest start of a change
        self._starts: list[tuple[int, str | None]] = [(1, None)] * len(_SLOPES)
        self._rng = np.random.default_rng(0)  # breaks ties
        self._lock = threading.Lock()

    def add(self, p_value: float, name: str | None = None) -> bool:
        """Add an image.

        Args:
            p_value: As of `scoring.threshold.p_values`: a multiple of 1 / (N + 1).
            name: To be named if the drift began here.

        Returns:
            Whether drift has been noticed with this image: true once.
        """
        with self._lock:
            n = self.state.n_images + 1
            self._bet(n, name, 1 + _SLOPES * (self._ranks(n, p_value) - 0.5))
            capitals = (self._capital[side].sum() + 1 / (n + 1) for side in (_HIGHER, _LOWER))
            evidence = float(max(capitals)) / 2
            self.state = self.state._replace(n_images=n, evidence=evidence)
            is_new = self.state.noticed_at is None and evidence >= 1 / FALSE_ALARM_CHANCE
            if is_new:
                best = int(self._capital.argmax())
                since, since_image = self._starts[best]
                scores: Literal["higher", "lower"] = "higher" if _HIGHER[best] else "lower"
                self.state = Drift(n, evidence, n, since, since_image, scores)
            return is_new

    def _ranks(self, n: int, p_value: float) -> NDArray[np.float64]:
        """The rank of image n for each bet, 0 to 1, uniform without drift."""
        weights = self._weights
        cell = min(max(round(p_value * len(weights)) - 1, 0), len(weights) - 1)
        above, within = weights[:cell].sum(), weights[cell]
        # The middle of its cell is what a linear bet pays on average.
        among_all = (above + within / 2) / weights.sum()
        # Without the one of each cell, and with the image itself.
        in_stream = (above - cell + self._rng.random() * within) / n
        weights[cell] += 1
        ranks: NDArray[np.float64] = np.where(_HIGHER, among_all, in_stream)
        return ranks

    def _bet(self, n: int, name: str | None, factors: NDArray[np.float64]) -> None:
        """Multiply the capital of each bet by its factor at image n."""
        entering = 1 / (n * (n + 1)) / _HIGHER.sum()
        self._capital = np.minimum((self._capital + entering) * factors, _LARGEST)
        for i, factor in enumerate(factors):
            if self._gains[i] <= 0:  # a start here explains the stream better (Page 1954)
                self._gains[i], self._starts[i] = 0.0, (n, name)
            self._gains[i] += math.log(factor)
