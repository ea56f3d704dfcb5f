"""A backbone at work: its engine, on the device or on the threads of a CPU."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fre_lightning.backbones import Backbone
from fre_lightning.threads import ImageParallel


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
        if device.type == "cpu" and backbone.n_together is not None:
            self._parallel = ImageParallel(self._function, n_threads, backbone.n_together)

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
