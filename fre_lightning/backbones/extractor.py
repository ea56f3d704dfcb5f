"""A backbone at work: its engine, on the device or on the threads of a CPU."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fre_lightning.backbones import Backbone
from fre_lightning.threads import end_threads, intra_op_threads, start_threads


class Extractor:
    """Computes pooled features of batches of images with all that the machine has."""

    def __init__(
        self,
        backbone: Backbone,
        layers: Sequence[str],
        device: torch.device,
        n_threads: int,
        precision: str,
        cache_dir: Path | None = None,
    ) -> None:
        """Build the engine and start the threads; `close` ends them.

        Args:
            backbone: On `device` already.
            layers: Some of its layers.
            device: Where images will be.
            n_threads: How many CPU threads may compute.
            precision: The trainer's.
            cache_dir: Where engines that take long to build are kept; None: nowhere.
        """
        backbone.accelerate(n_threads, precision, layers, cache_dir)
        self._function = partial(backbone.features, layers=layers)
        self._parallel: ImageParallel | None = None
        if device.type == "cpu" and backbone.images_per_thread is not None:
            self._parallel = ImageParallel(self._function, n_threads, backbone.images_per_thread)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Features `(N, C, h, w)` of each layer, of `(N, 3, H, W)` uint8 images.

        An image that comes alone has all threads.
        """
        run = self._parallel if len(images) > 1 else None
        return (run or self._function)(images)

    def close(self) -> None:
        """End the threads."""
        if self._parallel is not None:
            self._parallel.close()


class ImageParallel:
    """Applies a function of images to a batch, some images to a thread, on the CPU.

    A core that works on its own image waits for nobody. Threads within an operation meet at the
    end of each one, which idles cores on small maps, and where other programs (or our decoders)
    take a core from time to time, holds up all of them.
    """

    def __init__(
        self, function: Callable[[Tensor], list[Tensor]], n_threads: int, images_per_thread: int
    ) -> None:
        """Start the threads.

        Args:
            function: Maps `(n, ...)` to tensors `(n, ...)`, each image by itself; called from
                threads.
            n_threads: How many images are worked on at the same time, or groups of images.
            images_per_thread: How many images a call gets at most.
        """
        self._function = function
        self._images_per_thread = images_per_thread
        self._pool = start_threads(n_threads, "compute")

    def __call__(self, images: Tensor) -> list[Tensor]:
        """The function's values for `(N, ...)` images."""
        # Both are settings of a thread, which the pool's threads would not know of.
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
