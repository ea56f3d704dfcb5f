"""What a monitoring system reads at `/metrics`: counts, latencies, scores and drift."""

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from fre_lightning.detector.judge import Judge
from fre_lightning.scoring.drift import Drift
from fre_lightning.version import __version__

__all__ = ["CONTENT_TYPE", "Metrics"]

_P_VALUES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
_CLASS = "class"
_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The metrics of one server, in a registry of its own.

    Args:
        detector: The served one; its drift is read when the metrics are.
        score_limits: Of the histogram of scores.

    Attributes:
        seconds: Observes the durations of requests, and counts them, by status code.
    """

    def __init__(self, detector: Judge[Any], score_limits: Sequence[float]) -> None:
        self._detector = detector
        self._registry = registry = CollectorRegistry()
        about = Info("fre_detector", "The served detector", registry=registry)
        about.info({"version": __version__, "detector": detector.description})
        self.seconds = Histogram(
            "fre_request_seconds",
            "From a request for a judgement to its answer",
            ["status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._images = Counter(
            "fre_images", "Images judged, by decision", ["decision"], registry=registry
        )
        for decision in detector.words.values():
            self._images.labels(decision)  # a counter that starts at 0 shows its first rise
        self._classes: Counter | None = None
        if _CLASS in detector.columns:
            self._classes = Counter(
                "fre_classes", "Images judged, by class taken for", [_CLASS], registry=registry
            )
        self._scores = Histogram(
            "fre_score",
            "Image scores; one limit is the threshold, or limits are quantiles of known images",
            buckets=score_limits,
            registry=registry,
        )
        self._p_values = Histogram(
            "fre_p_value",
            "Of image scores among normal or known images",
            buckets=_P_VALUES,
            registry=registry,
        )
        if (threshold := detector.settings.get("threshold")) is not None:
            Gauge("fre_threshold", "Of image scores", registry=registry).set(threshold)
        if detector.drift is not None:
            self._add_drift(lambda: detector.drift or Drift())

    def _add_drift(self, state: Callable[[], Drift]) -> None:
        for name, text, read in (
            ("drift", "1 once drift was noticed", lambda: state().noticed_at is not None),
            ("drift_evidence", "Without drift above c in 1/c of streams", lambda: state().evidence),
            ("drift_since_image", "0, or where the drift began", lambda: state().since or 0),
        ):
            Gauge(f"fre_{name}", text, registry=self._registry).set_function(read)

    def add(self, result: Any) -> None:
        """Count an image by the detector's result."""
        row, detector = self._detector.row(result), self._detector
        self._images.labels(detector.words[row[detector.decides]]).inc()
        self._scores.observe(row["score"])
        if row["p_value"] is not None:
            self._p_values.observe(row["p_value"])
        if self._classes is not None:
            self._classes.labels(row[_CLASS]).inc()

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self._registry)
