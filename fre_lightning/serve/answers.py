"""How the results of each kind of detector are answered: as JSON, pictures and metrics."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

from PIL import Image
from pydantic import BaseModel

from fre_lightning.detector.detector import Detector
from fre_lightning.detector.judge import Judge
from fre_lightning.detector.result import DetectionResult
from fre_lightning.ood.detector import OODDetector, OODResult
from fre_lightning.ood.loading import TASK
from fre_lightning.pictures.embedding import data_uri
from fre_lightning.pictures.overlays import Pictures, draw_image, draw_pictures, encode
from fre_lightning.serve.models import (
    Answer,
    BoxAnswer,
    ClassAnswer,
    PictureAnswer,
    PicturesAnswer,
)

JudgeT = TypeVar("JudgeT", bound=Judge[Any])
ResultT = TypeVar("ResultT")

_OF_THRESHOLD = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
_OF_HELD_OUT = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


class Answers(ABC, Generic[JudgeT, ResultT]):
    """What a server says of the results of its detector.

    Args:
        detector: The served one.

    Attributes:
        model: What `answer` gives.
        has_heat_maps: Whether `flat_picture` can be asked for.
    """

    model: ClassVar[type[BaseModel]]
    has_heat_maps: ClassVar[bool]

    def __init__(self, detector: JudgeT) -> None:
        self.detector = detector

    @property
    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What `/health` says of the detector, beside what all have."""

    @property
    @abstractmethod
    def score_limits(self) -> Sequence[float]:
        """Ascending limits for a histogram of scores."""

    @abstractmethod
    def answer(self, image: Image.Image, result: ResultT, *, with_pictures: bool) -> BaseModel:
        """The answer as JSON, with pictures to be shown if they are asked for."""

    def flat_picture(self, image: Image.Image, result: ResultT) -> bytes:
        """The image under its heat map, as a PNG file, if `has_heat_maps`."""
        raise NotImplementedError


class DefectAnswers(Answers[Detector, DetectionResult]):
    """Of a detector of defects."""

    model = Answer
    has_heat_maps = True

    @property
    def about(self) -> dict[str, Any]:
        """The threshold, and the rate it was found for."""
        return {"task": "defects", **self.detector.settings}

    @property
    def score_limits(self) -> Sequence[float]:
        """Shares and multiples of the threshold, which is one of the limits."""
        threshold = self.detector.threshold or 1.0
        return sorted(share * threshold for share in _OF_THRESHOLD)

    def answer(self, image: Image.Image, result: DetectionResult, *, with_pictures: bool) -> Answer:
        """Score, decision and box; the image, and the heat map to lay over it."""
        drawn = self._draw(image, result) if with_pictures else None
        height, width = result.image_size
        return Answer(
            score=result.score,
            p_value=result.p_value,
            threshold=result.threshold,
            is_defective=result.is_defective,
            pixel_threshold=result.pixel_threshold,
            box=BoxAnswer(**result.box._asdict()) if result.box else None,
            width=width,
            height=height,
            pictures=drawn
            and PicturesAnswer(
                image=data_uri("image/jpeg", encode(drawn.image, "JPEG")),
                heat_map=data_uri("image/png", encode(drawn.heat_map, "PNG")),
            ),
        )

    def flat_picture(self, image: Image.Image, result: DetectionResult) -> bytes:
        """The image under its heat map, as a PNG file."""
        drawn = self._draw(image, result)
        flat = Image.alpha_composite(drawn.image.convert("RGBA"), drawn.heat_map)
        return encode(flat.convert("RGB"), "PNG")

    def _draw(self, image: Image.Image, result: DetectionResult) -> Pictures:
        found = result.anomaly_map, result.pixel_threshold, result.region
        return draw_pictures(image, *found, self.detector.intensity)


class ClassAnswers(Answers[OODDetector, OODResult]):
    """Of a classifier that knows what it knows."""

    model = ClassAnswer
    has_heat_maps = False

    @property
    def about(self) -> dict[str, Any]:
        """The known classes, the method and its rate."""
        return {"task": TASK, "classes": [*self.detector.classes], **self.detector.settings}

    @property
    def score_limits(self) -> Sequence[float]:
        """Quantiles of the held-out scores of known images; 0 and 1 without any."""
        scores = self.detector.held_out_scores
        if not len(scores):
            return [0.0, 1.0]
        return sorted({float(scores.quantile(share)) for share in _OF_HELD_OUT})

    def answer(self, image: Image.Image, result: OODResult, *, with_pictures: bool) -> ClassAnswer:
        """Class and decision; the image, as other programs may not show its file."""
        pictures = None
        if with_pictures:
            drawn = encode(draw_image(image, self.detector.intensity), "JPEG")
            pictures = PictureAnswer(image=data_uri("image/jpeg", drawn))
        width, height = image.size
        return ClassAnswer(**result._asdict(), width=width, height=height, pictures=pictures)


def answers_of(detector: Judge[Any]) -> Answers[Any, Any]:
    """What a server says of the results of a detector."""
    if isinstance(detector, OODDetector):
        return ClassAnswers(detector)
    assert isinstance(detector, Detector)
    return DefectAnswers(detector)
