"""A fitted classifier as a program uses it: what an image shows, and whether it is known."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch

from fre_lightning.detector.judge import Judge
from fre_lightning.errors import FeatureError
from fre_lightning.images.prepare import ImageLike, PreparedImage, prepare_image
from fre_lightning.ood.model import OODModel
from fre_lightning.scoring.threshold import check_rate, p_values
from fre_lightning.threads import intra_op_threads


class OODResult(NamedTuple):
    """The result for one image.

    Attributes:
        label: The name of the class that it is taken for.
        confidence: The softmax probability of that class.
        score: How little it is like known images.
        p_value: The share of held-out known images taken for that class that score at least this
            high, within 1 / (H + 1) and 1; None if there are none.
        is_unknown: Whether the p-value is at most the false-alarm rate; None without p-value.
    """

    label: str
    confidence: float
    score: float
    p_value: float | None
    is_unknown: bool | None


class OODDetector(Judge[OODResult]):
    """Names the class of an image, and says whether it is an image of a known class at all.

    Args:
        model: Fitted, on its device.
        classes: The names of the classes.
        method: The key of the method that decides.
        false_alarm_rate: The share of known images that may be called unknown.
        n_threads: CPU threads that decode, and that compute.

    Attributes:
        held_out_scores: `(H,)` scores by that method of known images that nothing was fitted on.

    Raises:
        ConfigError: If there is no such method, or the rate is out of range.
    """

    columns = ("class", "confidence", "score", "p_value", "is_unknown")
    decides = "is_unknown"
    words: ClassVar = {True: "unknown", False: "known", None: "undecided"}

    def __init__(
        self,
        model: OODModel,
        classes: Sequence[str],
        method: str,
        false_alarm_rate: float,
        n_threads: int,
    ) -> None:
        super().__init__(n_threads)
        check_rate(false_alarm_rate)
        self._index = model.index_of(method)
        self.description = f"{model.description}, {model.entries[self._index].title}"
        self.device = model.device
        self.image_size = model.image_size
        self.intensity = model.intensity
        self.model = model
        self.classes = classes
        self.method = method
        self.false_alarm_rate = false_alarm_rate
        scores = model.held_out_scores.cpu()
        self.held_out_scores = scores[:, self._index] if len(scores) else scores
        model.eval().accelerate(n_threads)

    def row(self, result: OODResult) -> dict[str, Any]:
        """A result as the values of `columns`."""
        return dict(zip(self.columns, result, strict=True))

    @property
    def settings(self) -> dict[str, Any]:
        """The method, and the share of known images that it may call unknown."""
        return {"method": self.method, "false_alarm_rate": self.false_alarm_rate}

    def _read(self, image: ImageLike) -> PreparedImage:
        return prepare_image(image, self.image_size, self.intensity)

    def _judge(self, images: list[PreparedImage]) -> list[OODResult]:
        if not images:
            return []
        pixels = torch.stack([image.pixels for image in images]).to(self.device)
        with self._lock, torch.inference_mode(), intra_op_threads(self.n_threads):
            logits, scores = self.model(pixels)
        if not (logits.isfinite().all() and scores[:, self._index].isfinite().all()):
            msg = f"What {self.description} says of an image is not a finite number. Fit it again."
            raise FeatureError(msg)
        confidences, labels = logits.softmax(dim=1).max(dim=1)
        columns = scores[:, self._index].tolist(), confidences.tolist(), labels.tolist()
        return [self._result(*row) for row in zip(*columns, strict=True)]

    def _result(self, score: float, confidence: float, label: int) -> OODResult:
        calibration = self.model.calibration_scores(self._index, label, self.false_alarm_rate)
        p_value = None
        if len(calibration):
            p_value = float(p_values(torch.tensor([score]), calibration))
        is_unknown = None if p_value is None else p_value <= self.false_alarm_rate
        return OODResult(self.classes[label], confidence, score, p_value, is_unknown)
