"""A fitted classifier as a program uses it: what an image shows, and whether it is known."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fre_lightning.detector.read_ahead import read_ahead
from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.prepare import ImageLike, prepare_image
from fre_lightning.ood.model import OODModel
from fre_lightning.scoring.threshold import check_rate, n_images_needed, p_values
from fre_lightning.threads import intra_op_threads

_BATCH_SIZE = 32


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


@dataclass(eq=False)
class OODDetector:
    """Names the class of an image, and says whether it is an image of a known class at all.

    Threads may share one.

    Args:
        model: Fitted, on its device.
        classes: The names of the classes.
        method: The key of the method that decides.
        false_alarm_rate: The share of known images that may be called unknown.
        n_threads: CPU threads that decode, and that compute.

    Raises:
        ConfigError: If there is no such method, or the rate is out of range.
    """

    model: OODModel
    classes: Sequence[str]
    method: str
    false_alarm_rate: float
    n_threads: int

    def __post_init__(self) -> None:
        check_rate(self.false_alarm_rate)
        self._index = self.model.index_of(self.method)
        self._lock = threading.Lock()
        self.model.eval().accelerate(self.n_threads)

    @property
    def description(self) -> str:
        """The classifier and the method, for a log."""
        return f"{self.model.description}, {self.model.entries[self._index].title}"

    def __call__(self, image: ImageLike) -> OODResult:
        """Judge an image: a path, Pillow image, array or tensor; see `prepare_image`.

        Raises:
            UnreadableImageError: If it cannot be decoded.
        """
        return self._judge([self._read(image)])[0]

    def detect_batch(self, images: Iterable[ImageLike]) -> list[OODResult]:
        """Judge images, decoding some while others are computed.

        Raises:
            UnreadableImageError: If one of them cannot be decoded; `stream` goes on.
        """
        results = []
        for _, result in self.stream(images):
            if isinstance(result, UnreadableImageError):
                raise result
            results.append(result)
        return results

    def stream(
        self, images: Iterable[ImageLike]
    ) -> Iterator[tuple[ImageLike, OODResult | UnreadableImageError]]:
        """Judge any number of images in order and in constant memory; an error may be a result."""
        for batch in read_ahead(self._try_to_read, images, _BATCH_SIZE, self.n_threads):
            found = [(image, future.result()) for image, future in batch]
            results = iter(self._judge([p for _, p in found if isinstance(p, Tensor)]))
            for image, pixels in found:
                yield image, next(results) if isinstance(pixels, Tensor) else pixels

    def _read(self, image: ImageLike) -> Tensor:
        return prepare_image(image, self.model.image_size, self.model.intensity).pixels

    def _try_to_read(self, image: ImageLike) -> Tensor | UnreadableImageError:
        try:
            return self._read(image)
        except UnreadableImageError as error:
            return error

    def _judge(self, images: list[Tensor]) -> list[OODResult]:
        if not images:
            return []
        pixels = torch.stack(images).to(self.model.device)
        with self._lock, torch.inference_mode(), intra_op_threads(self.n_threads):
            logits, scores = self.model(pixels)
        confidences, labels = logits.softmax(dim=1).max(dim=1)
        columns = scores[:, self._index].tolist(), confidences.tolist(), labels.tolist()
        return [self._result(*row) for row in zip(*columns, strict=True)]

    def _result(self, score: float, confidence: float, label: int) -> OODResult:
        held_out = self.model.held_out_scores
        p_value = None
        if len(held_out):
            same = held_out[self.model.held_out_classes == label]
            # With fewer of a class its p-values could never be as small as the rate.
            enough = len(same) >= n_images_needed(self.false_alarm_rate)
            calibration = (same if enough else held_out)[:, self._index].cpu()
            p_value = float(p_values(torch.tensor([score]), calibration))
        is_unknown = None if p_value is None else p_value <= self.false_alarm_rate
        return OODResult(self.classes[label], confidence, score, p_value, is_unknown)
