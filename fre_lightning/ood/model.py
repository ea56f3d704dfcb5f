"""The model: a classifier, and the methods that look at its features and logits."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fre_lightning.config import build
from fre_lightning.detector.image_model import ImageModel
from fre_lightning.detector.model import full_precision
from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.images.tiling import Tiling
from fre_lightning.ood.classifier import Classifier
from fre_lightning.ood.fre import FRE, FREByClass
from fre_lightning.ood.method import Known, Method
from fre_lightning.scoring.threshold import n_images_needed

log = logging.getLogger(__name__)

_ROWS = 4096
"""That are scored at a time."""


class Entry(NamedTuple):
    """A method at a layer.

    Attributes:
        key: Its key in the configuration, and its layer if there are several: `fre.layer3`.
        title: Its name in tables.
        layer: The layer whose features it looks at.
        method: The method.
    """

    key: str
    title: str
    layer: str
    method: Method


class OODModel(ImageModel):
    """Maps images to logits and to the scores of methods; plain torch.

    Args:
        classifier: Computes features and logits.
        methods: The configuration of each method, by its key.

    Attributes:
        held_out_scores: `(H, M)` scores of known images that nothing was fitted on.
        held_out_classes: `(H,)` the class that each of them was taken for.
        entries: The methods at the layers that they apply to; those that need a linear head are
            left out where there is none.
    """

    backbone: Classifier
    held_out_scores: Tensor
    held_out_classes: Tensor

    def __init__(self, classifier: Classifier, methods: Mapping[str, Any]) -> None:
        super().__init__(classifier, Tiling([1, 1], overlap=0.0, shared=False, blocks=[1, 1]))
        self.entries = [e for key in methods for e in _entries(key, methods[key], classifier)]
        self.add_buffers("held_out_scores", "held_out_classes")
        self._methods = nn.ModuleList(entry.method for entry in self.entries)

    @property
    def device(self) -> torch.device:
        """The classifier's."""
        return self.backbone.pixel_mean.device

    @property
    def description(self) -> str:
        """The classifier, for the log."""
        classifier, (height, width) = self.backbone, self.image_size
        layers = "+".join(classifier.layers[:-1])
        source = f"{classifier.name} {layers} ({classifier.weights_label})"
        return f"{source} of {classifier.n_classes} classes at {height}x{width}"

    @property
    def n_components(self) -> dict[str, list[int]]:
        """The numbers of components of the subspaces of FRE's methods."""
        fitted = ((entry.key, entry.method) for entry in self.entries)
        return {k: m.n_components for k, m in fitted if isinstance(m, FRE | FREByClass)}

    def index_of(self, key: str) -> int:
        """The number of a method.

        Raises:
            ConfigError: If there is none with this key.
        """
        keys = [entry.key for entry in self.entries]
        if key not in keys:
            msg = f"{key} is none of the methods {', '.join(keys)}. Choose one of these."
            raise ConfigError(msg)
        return keys.index(key)

    def fit(
        self, layers: Sequence[FeatureMatrix], labels: Tensor, device: torch.device | None = None
    ) -> None:
        """Fit all methods.

        Args:
            layers: `(N, D)` of each of the classifier's layers, logits last.
            labels: `(N,)` int64.
            device: Where to compute.

        Raises:
            FREError: As the methods do.
        """
        logits = layers[-1].block(slice(None))
        for entry in self.entries:
            head = self.backbone.head if entry.layer == self.backbone.head_layer else None
            features = layers[self.backbone.layers.index(entry.layer)]
            entry.method.fit(Known(features, logits, labels, head), device)

    def calibrate(self, layers: Sequence[FeatureMatrix]) -> None:
        """Remember scores of images that nothing was fitted on, for p-values."""
        logits = layers[-1].block(slice(None))
        self.held_out_scores = self.score_all(layers).to(self.device)
        self.held_out_classes = logits.argmax(dim=1).to(self.device)

    def calibration_scores(self, index: int, label: int, rate: float) -> Tensor:
        """Held-out scores `(H',)`, on the CPU, that p-values of images of a class are counted in.

        They are those of the same class, or of all where it has too few for p-values as small as
        the rate; none if nothing was held out.

        Args:
            index: The number of the method.
            label: The class that an image is taken for.
            rate: The false-alarm rate.
        """
        scores = self.held_out_scores
        if not len(scores):
            return scores
        same = scores[self.held_out_classes == label]
        return (same if len(same) >= n_images_needed(rate) else scores)[:, index].cpu()

    def score(self, layers: Sequence[Tensor]) -> Tensor:
        """Scores `(N, M)` of the M entries, of `(N, D)` features of each layer, logits last."""
        with full_precision():
            columns = [
                entry.method(layers[self.backbone.layers.index(entry.layer)], layers[-1])
                for entry in self.entries
            ]
        return torch.stack(columns, dim=1)

    @torch.inference_mode()
    def score_all(self, layers: Sequence[FeatureMatrix]) -> Tensor:
        """`score` of matrices that may be larger than memory."""
        starts = range(0, layers[0].shape[0], _ROWS)
        blocks = ([m.block(slice(i, i + _ROWS)).to(self.device) for m in layers] for i in starts)
        return torch.cat([self.score(block).cpu() for block in blocks])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `(N, K)` and scores `(N, M)` of `(N, 3, H, W)` uint8 images."""
        layers = [layer.float().flatten(1) for layer in self.features_of(images)]
        return layers[-1], self.score(layers)


def _entries(key: str, node: Any, classifier: Classifier) -> Iterator[Entry]:
    """A method at each layer that it applies to."""
    layers = classifier.layers[:-1]
    for layer in layers:
        method: Method = build(node)
        if method.uses == "features":
            several = len(layers) > 1
            suffixes = (f".{layer}", f", {layer}") if several else ("", "")
            yield Entry(key + suffixes[0], method.title + suffixes[1], layer, method)
        elif method.uses == "logits" or layer == classifier.head_layer:
            yield Entry(key, method.title, layer, method)
            return
    if method.uses == "head":
        reason = "no linear head" if classifier.head is None else "a head whose input is left out"
        log.info("%s is left out: %s has %s.", method.title, classifier.name, reason)
