"""The base class of methods: each scores how little an image is like a classifier's own."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.fitted import FittedBuffers


class Head(NamedTuple):
    """The last layer of a classifier, if it is linear: `logits = features @ weight.T + bias`.

    Attributes:
        weight: `(K, D)`.
        bias: `(K,)`.
    """

    weight: Tensor
    bias: Tensor


class Known(NamedTuple):
    """What a classifier says of the N images that a method learns from.

    Attributes:
        features: `(N, D)`.
        logits: `(N, K)`.
        labels: `(N,)` int64 from 0 to C - 1, the classes of the images.
        head: The classifier's head, if these features are its input.
    """

    features: FeatureMatrix
    logits: Tensor
    labels: Tensor
    head: Head | None = None


class Method(FittedBuffers, ABC):
    """Scores images by a classifier's outputs: the higher, the less they are like the known ones.

    A new method derives from this class:

    - The class variables are set.
    - What `fit` learns is in buffers of `add_buffers`, so that checkpoints hold it.
    - `configs/ood.yaml` has it under `methods`, with each constructor parameter.

    Attributes:
        title: Its name in tables.
        uses: What it looks at: `logits`; `features` of any layer; or the `head`, and its input.
    """

    title: ClassVar[str]
    uses: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()  # a method without parameters takes none

    def fit(self, known: Known, device: torch.device | None = None) -> None:
        """Learn from known images; methods of logits alone have nothing to learn.

        Args:
            known: Their features, logits and classes.
            device: Where to compute; None is the CPU. Buffers stay where the module is.

        Raises:
            FREError: If they do not suffice.
        """

    @abstractmethod
    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Scores `(N,)` of images.

        Args:
            features: `(N, D)` float32.
            logits: `(N, K)` float32.
        """

    def keep(self, **tensors: Tensor) -> None:
        """Store buffers as float32, where the module is."""
        for name, tensor in tensors.items():
            self._buffers[name] = tensor.float().to(self.get_buffer(name).device)
