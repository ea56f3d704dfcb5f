"""The base classes of classifiers: they give vectors of layers, and logits."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import get_graph_node_names

from fre_lightning.backbones import Backbone
from fre_lightning.backbones.traced import TracedBackbone, cut_at
from fre_lightning.backbones.weights import RANDOM, is_weights_file, read_state
from fre_lightning.errors import BackboneError
from fre_lightning.ood.method import Head
from fre_lightning.ood.windows import Pool, check_windows, read_windows, to_vectors

PENULTIMATE = "penultimate"
"""The layer that is the head's input."""
LOGITS = "logits"
TRAIN = "train"
"""The weights of a classifier that a run trains itself."""

_HEAD = "head"


class Classifier(Backbone):
    """A frozen network that gives features of layers as vectors, and logits, in one pass.

    Attributes:
        layers: Those of the constructor, then `logits`.
        windows: Of each layer, the side of the windows that its maps are averaged over, before
            they are flattened; None: the mean over all positions. Vectors stay as they are.
        n_classes: The number of logits.
        pixel_mean: What is subtracted from pixels; where it is, the classifier computes.
    """

    group: ClassVar[str] = "classifier"
    n_classes: int
    windows: tuple[int | None, ...]
    pixel_mean: Tensor

    @property
    def head(self) -> Head | None:
        """The head, if it is known to be one linear layer whose outputs are the logits."""
        return None

    @property
    def head_layer(self) -> str | None:
        """The layer that gives the head's input; None if there is no such head."""
        return None if self.head is None else PENULTIMATE

    @abstractmethod
    def to_store(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What a checkpoint keeps of its settings, to rebuild it for a state dict."""

    @abstractmethod
    def outputs(self, images: Tensor, layers: tuple[str, ...]) -> list[Tensor]:
        """What some layers give, of any shape, for `(N, 3, H, W)` uint8 images."""

    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """Vectors `(N, D)` of layers, logits `(N, K)` among them, of `(N, 3, H, W)` uint8."""
        chosen = self.layers if layers is None else tuple(layers)
        outputs = zip(chosen, self.outputs(images, chosen), strict=True)
        return [to_vectors(output, self._window(layer)) for layer, output in outputs]

    def features(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """The same as `forward`."""
        return self.forward(images, layers)

    def fingerprint(self, layer: str) -> dict[str, object]:
        """Everything that changes a layer's features; part of the cache key."""
        window = self._window(layer)
        return super().fingerprint(layer) | ({} if window is None else {"window": window})

    def _window(self, layer: str) -> int | None:
        return self.windows[self.layers.index(layer)]


class NetworkClassifier(Classifier, TracedBackbone):
    """A network whose modules are known: any of them is a layer, and weights are its own.

    The head is the network's last linear layer or convolution.

    Args:
        name: The network's name where it comes from.
        layers: Names of modules, or `penultimate`.
        pool: The side of the windows that maps are averaged over, one for all layers or for each;
            None: they become their means over all positions.
        image_size: One number or `[height, width]`.
        weights: As of `NetworkBackbone`; or `train`, which are random until `network` is trained.
        seed: The seed of random weights.
        n_classes: The number of classes of weights that are random or trained; others have theirs.
    """

    def __init__(
        self,
        name: str,
        layers: str | Sequence[str],
        pool: Pool,
        image_size: int | Sequence[int],
        weights: str,
        seed: int,
        n_classes: int,
    ) -> None:
        self.is_trained_here = weights == TRAIN
        self.n_classes = n_classes
        chosen = (layers,) if isinstance(layers, str) else tuple(layers)
        self.windows = read_windows(pool, len(chosen))
        weights = RANDOM if weights == TRAIN else str(weights)
        self._has_linear_head = False
        super().__init__(name, (*chosen, LOGITS), 1, image_size, weights, seed, "eager", tf32=False)
        self._try()

    @abstractmethod
    def classes_of_weights(self) -> int | None:
        """The number of classes of weights that are called by a name; None if there are none."""

    @property
    def weights_label(self) -> str:
        """The weights' name, file name, or how they were drawn."""
        label = super().weights_label
        return label.replace(RANDOM, "trained here") if self.is_trained_here else label

    @property
    def head(self) -> Head | None:
        """The head, if it is one linear layer whose outputs are the logits."""
        if not self._has_linear_head:
            return None
        layer = self.network.get_submodule(self._head_name)
        bias = layer.bias if layer.bias is not None else layer.weight.new_zeros(len(layer.weight))
        return Head(layer.weight, bias)  # type: ignore[arg-type]

    def to_store(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings; the state dict has the weights, so that none are looked for."""
        return {**settings, "weights": TRAIN}

    def build_network(self) -> fx.GraphModule:
        """The network, for as many classes as its weights have."""
        with torch.device("meta"):
            self._head_name = find_head(self.build_whole(), self.name)
        if is_weights_file(self.weights):
            stored = read_state(Path(self.weights), self.group).get(f"{self._head_name}.weight")
            self.n_classes = self.n_classes if stored is None else len(stored)
        elif self.weights != RANDOM:
            self.n_classes = self.classes_of_weights() or self.n_classes
        return super().build_network()

    def outputs(self, images: Tensor, layers: tuple[str, ...]) -> list[Tensor]:
        """What some layers give, of any shape, for `(N, 3, H, W)` uint8 images."""
        return TracedBackbone.outputs(self, images, layers)

    def cut(self, network: nn.Module) -> fx.GraphModule:
        """The network, which returns the outputs of layers and its logits."""
        modules = [layer for layer in self.layers if layer not in {PENULTIMATE, LOGITS}]
        try:
            _, names = get_graph_node_names(network, suppress_diff_warning=True)
        except (ValueError, TypeError, AttributeError, RuntimeError, fx.proxy.TraceError) as error:
            msg = f"{self.name} is no classifier that torch.fx can record: {error}"
            raise BackboneError(msg) from error
        nodes = {names[-1]: LOGITS}
        if not f"{names[-1]}.".startswith(f"{self._head_name}."):
            nodes[self._head_name] = _HEAD  # which is not where the network ends
        graph = cut_at(network, modules, nodes).graph
        output = next(node for node in graph.nodes if node.op == "output")
        found = dict(output.args[0])
        head = found.pop(_HEAD, found[LOGITS])
        self._has_linear_head = head is found[LOGITS] and isinstance(
            network.get_submodule(self._head_name), nn.Linear
        )
        found[PENULTIMATE] = head.args[0]
        output.args = ({layer: found[layer] for layer in self.layers},)
        return fx.GraphModule(network, graph).eval()

    @torch.no_grad()
    def _try(self) -> None:
        """See whether the network takes images of this size, and gives logits.

        Raises:
            BackboneError: If it does not.
            ConfigError: As `check_windows`.
        """
        size = "x".join(map(str, self.image_size))
        try:
            outputs: Mapping[str, Tensor] = self.network(torch.zeros(1, 3, *self.image_size))
        except (RuntimeError, AssertionError) as error:
            msg = f"{self.name} does not take images of {size} ({error}). Set another image_size."
            raise BackboneError(msg) from error
        logits = outputs[LOGITS]
        if not isinstance(logits, Tensor) or logits.shape != (1, self.n_classes):
            msg = f"{self.name} has no head that gives a logit for each class. Choose a classifier."
            raise BackboneError(msg)
        check_windows(self.name, dict(zip(self.layers, self.windows, strict=True)), outputs)


def find_head(network: nn.Module, name: str) -> str:
    """The name of the last linear layer or convolution of a network.

    Raises:
        BackboneError: If it has none.
    """
    kinds = (nn.Linear, nn.Conv2d)
    found = [key for key, module in network.named_modules() if isinstance(module, kinds)]
    if not found:
        msg = f"{name} has no head, no linear layer at its end. Choose a classifier."
        raise BackboneError(msg)
    return str(found[-1])
