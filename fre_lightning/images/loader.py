"""Batches of decoded images, read ahead by threads while the backbone computes."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fre_lightning.datasets import Sample
from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.intensity import Intensity
from fre_lightning.images.reading import read_image
from fre_lightning.threads import map_ahead, thread_pool

log = logging.getLogger(__name__)

ImageReader = Callable[[Path, tuple[int, int], Intensity | None], Tensor]


class ImageBatch(NamedTuple):
    """A batch of a split's images.

    Attributes:
        indices: Positions of the images in the split.
        images: `(N, 3, H, W)` uint8.
    """

    indices: list[int]
    images: Tensor


@dataclass(eq=False)
class ImageLoader:
    """Decodes and resizes the images of a split, in order.

    Threads suffice, because Pillow releases Python's lock while it decodes and resizes. Unlike
    worker processes they start at once and hand images over without a copy.

    Args:
        samples: The split.
        image_size: `(H, W)` of the batches.
        batch_size: Images per batch; the last may have fewer.
        n_threads: Number of decoding threads.
        indices: Positions of the samples to read, ascending; None: all.
        intensity: The range of the images' levels, as of `read_image`.
        skip_unreadable: Whether images that cannot be decoded are left out with a warning.
        pin_memory: Whether batches lie in pinned memory, from which a GPU copies faster.
        read: Reads an image; called as `read_image` is.
    """

    samples: Sequence[Sample]
    image_size: tuple[int, int]
    batch_size: int
    n_threads: int
    _: KW_ONLY
    indices: Sequence[int] | None = None
    intensity: Intensity | None = None
    skip_unreadable: bool = False
    pin_memory: bool = False
    read: ImageReader = read_image

    def __len__(self) -> int:
        """The number of batches; one without any readable image is left out."""
        return math.ceil(len(self._order) / self.batch_size)

    def __iter__(self) -> Iterator[ImageBatch]:
        """Yield batches, while the threads decode the next two.

        Raises:
            UnreadableImageError: If an image cannot be decoded and `skip_unreadable` is off.
        """
        order = self._order
        with thread_pool(self.n_threads, "decode") as pool:
            images = map_ahead(pool, self._read, order, 2 * self.batch_size)
            for start in range(0, len(order), self.batch_size):
                # The indices come first: `zip` stops at their end without drawing an image.
                pairs = zip(order[start : start + self.batch_size], images, strict=False)
                readable = {index: image for index, image in pairs if image is not None}
                if readable:
                    batch = torch.stack([*readable.values()])
                    yield ImageBatch([*readable], batch.pin_memory() if self.pin_memory else batch)

    @property
    def _order(self) -> Sequence[int]:
        return range(len(self.samples)) if self.indices is None else self.indices

    def _read(self, index: int) -> Tensor | None:
        try:
            return self.read(self.samples[index].path, self.image_size, self.intensity)
        except UnreadableImageError as error:
            if not self.skip_unreadable:
                raise
            log.warning("Left out: %s", error.summary)
            return None
