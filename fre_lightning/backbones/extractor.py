"""Feature extraction with a backbone, on a GPU or on the threads of a CPU."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fre_lightning.backbones import Backbone
from fre_lightning.threads import end_threads, intra_op_threads, start_threads


class Extractor:
    """Computes pooled features of batches of images on all cores, or on a GPU, until `close`.

    Args:
        backbone: On `device` already.
        layers: Some of its layers.
        device: The device of the images.
        n_threads: The number of CPU threads.
        precision: The trainer's precision.
        cache_dir: See `Backbone.accelerate`.
    """

    def __init__(
        self,
        backbone: Backbone,
        layers: Sequence[str],
        device: torch.device,
        n_threads: int,
        precision: str,
        cache_dir: Path | None = None,
    ) -> None:
        backbone.accelerate(n_threads, precision, layers, cache_dir)
        self._function = partial(backbone.features, layers=layers)
        self._parallel: ImageParallel | None = None
        if device.type == "cpu" and backbone.images_per_thread is not None:
            self._parallel = ImageParallel(self._function, n_threads, backbone.images_per_thread)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Features `(N, C, h, w)` of each layer of `(N, 3, H, W)` uint8 images.

        A single image is computed by all threads.
        """
        run = self._parallel if len(images) > 1 else None
        return (run or self._function)(images)

    def close(self) -> None:
        """End the threads."""
        if self._parallel is not None:
            self._parallel.close()


class ImageParallel:
    """Applies a function to a batch of images on the CPU, some images per thread.

    Threads that share an operation wait for each other at its end: cores idle on small maps, and
    all of them wait if another program, or our decoders, takes one. Threads with images of their
    own wait for none.

    Args:
        function: Maps `(n, ...)` images to tensors `(n, ...)`, independently of each other; called
            from several threads.
        n_threads: The number of threads.
        images_per_thread: The largest n.
    """

    def __init__(
        self, function: Callable[[Tensor], list[Tensor]], n_threads: int, images_per_thread: int
    ) -> None:
        self._function = function
        self._images_per_thread = images_per_thread
        self._pool = start_threads(n_threads, "compute")

    def __call__(self, images: Tensor) -> list[Tensor]:
        """The function's values for `(N, ...)` images."""
        # Both are settings of this thread, which the threads of the pool do not inherit.
        dtype, is_mixed = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

        def compute(part: Tensor) -> list[Tensor]:
            with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=is_mixed):
                return self._function(part)

        with intra_op_threads(1):
            parts = self._pool.map(compute, torch.split(images, self._images_per_thread))
            return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def close(self) -> None:
        """End the threads."""
        end_threads(self._pool)
