"""The base class of detectors: images are read ahead and judged one by one, or many in order."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch

from fre_lightning.detector.read_ahead import read_ahead
from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.intensity import Intensity
from fre_lightning.images.prepare import ImageLike, PreparedImage
from fre_lightning.scoring.drift import Drift

ResultT = TypeVar("ResultT")

Batch = list[tuple[ImageLike, Future[PreparedImage | UnreadableImageError]]]

_BATCH_SIZE = 32


class Judged(NamedTuple, Generic[ResultT]):
    """One image of many, and its result or its error.

    Attributes:
        image: As it was given.
        prepared: The image at the model's size; None if it could not be read.
        result: None if the image could not be read.
        error: Why the image could not be read.
    """

    image: ImageLike
    prepared: PreparedImage | None
    result: ResultT | None
    error: UnreadableImageError | None


class Judge(ABC, Generic[ResultT]):
    """Judges images. Threads may share one.

    Args:
        n_threads: CPU threads that decode, and that compute.
        n_tiles: That an image is cut into: so many times fewer images are computed at a time.

    Attributes:
        columns: The names of what `row` gives, in the order of tables.
        decides: That of the decision: true, false, or None without one.
        words: How these decisions are called.
        description: The model, for a log.
        device: Its device.
        image_size: `(H, W)` that images are resized to.
        intensity: The range of levels of the training images; None for images of 8 bits.
        false_alarm_rate: The share of usual images that may be called something else.
    """

    columns: ClassVar[tuple[str, ...]]
    decides: ClassVar[str]
    words: ClassVar[Mapping[bool | None, str]]
    description: str
    device: torch.device
    image_size: tuple[int, int]
    intensity: Intensity | None
    false_alarm_rate: float

    def __init__(self, n_threads: int, n_tiles: int = 1) -> None:
        self.n_threads = n_threads
        self._batch_size = max(1, _BATCH_SIZE // n_tiles)
        self._lock = threading.Lock()

    @abstractmethod
    def _read(self, image: ImageLike) -> PreparedImage:
        """Decode an image; raises an UnreadableImageError."""

    @abstractmethod
    def _judge(self, images: list[PreparedImage]) -> list[ResultT]:
        """The results of some images; of none, none."""

    @abstractmethod
    def row(self, result: ResultT) -> dict[str, Any]:
        """A result as the values of `columns`."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decisions rest on, by name."""

    @property
    def drift(self) -> Drift | None:
        """Whether what was streamed and noted still looks usual; None: it is not watched."""
        return None

    def note(self, p_value: float | None, image: object = None) -> None:
        """Let the p-value of a result count in `drift`, if that is watched."""

    def __call__(self, image: ImageLike) -> ResultT:
        """Judge an image.

        Args:
            image: A path, Pillow image, array or tensor; see `prepare_image`.

        Raises:
            UnreadableImageError: If it cannot be decoded.
            FeatureError: If its score is not a finite number.
        """
        return self._judge([self._read(image)])[0]

    def detect_batch(self, images: Iterable[ImageLike]) -> list[ResultT]:
        """Judge images, decoding some while others are computed.

        Raises:
            UnreadableImageError: If one of them cannot be decoded; `stream` goes on.
        """
        results = []
        for outcome in self.stream(images):
            if outcome.result is None:
                raise outcome.error or UnreadableImageError
            results.append(outcome.result)
        return results

    def stream(self, images: Iterable[ImageLike]) -> Generator[Judged[ResultT], None, None]:
        """Judge any number of images in order and in constant memory, as `read_ahead` batches them.

        An image that comes alone is judged at once. `images` is drawn from in a thread.
        """
        for batch in self._batches(images):
            found = [(image, future.result()) for image, future in batch]
            readable = [prepared for _, prepared in found if isinstance(prepared, PreparedImage)]
            results = iter(self._judge(readable))
            for image, prepared in found:
                if isinstance(prepared, PreparedImage):
                    yield Judged(image, prepared, next(results), None)
                else:
                    yield Judged(image, None, None, prepared)

    def _batches(self, images: Iterable[ImageLike]) -> Iterator[Batch]:
        return read_ahead(self._try_to_read, images, self._batch_size, self.n_threads)

    def _try_to_read(self, image: ImageLike) -> PreparedImage | UnreadableImageError:
        try:
            return self._read(image)
        except UnreadableImageError as error:
            return error
