"""The base class of backbones whose networks torch.fx can record: any layer can be chosen."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import fx, nn
from torchvision.models.feature_extraction import create_feature_extractor

from fre_lightning.backbones.engines import keep_layers
from fre_lightning.backbones.network import NetworkBackbone
from fre_lightning.backbones.weights import RANDOM
from fre_lightning.errors import BackboneError, did_you_mean


class TracedBackbone(NetworkBackbone):
    """A network that is cut at some of its modules, which are its layers; see `NetworkBackbone`.

    Attributes:
        network: Parameters keep the names of the whole network.
    """

    network: fx.GraphModule

    @abstractmethod
    def build_whole(self) -> nn.Module:
        """The whole network without weights, in evaluation mode."""

    def build_network(self) -> fx.GraphModule:
        """The part of the network that the layers need."""
        if self.weights == RANDOM:
            return self.cut(self.build_whole())
        with torch.device("meta"):  # random initialisation takes longer than reading the file
            network = self.cut(self.build_whole())
        network.to_empty(device="cpu")
        for buffer in network.buffers():
            buffer.zero_()
        return network

    def cut(self, network: nn.Module) -> fx.GraphModule:
        """The part of the whole network that the layers need; it returns `{layer: output}`."""
        return cut_at(network, self.layers)

    def keep_layers(self, layers: Sequence[str]) -> fx.GraphModule:
        """The part of the network that some layers need, see `engines.keep_layers`."""
        return keep_layers(self.network, layers)


def cut_at(
    network: nn.Module, layers: Sequence[str], nodes: Mapping[str, str] | None = None
) -> fx.GraphModule:
    """The part of a network that ends at some layers; it returns `{layer: output}`.

    Args:
        network: The whole.
        layers: Names of its modules.
        nodes: Further nodes of its graph, and the names of their outputs.

    Raises:
        BackboneError: If there is no such layer, or torch.fx cannot record the network.
    """
    known = [name for name, _ in network.named_modules() if name]
    for layer in layers:
        if layer not in known:
            top = [name for name, _ in network.named_children()]
            msg = (
                f"{type(network).__name__} has no layer called {layer}."
                f"{did_you_mean(layer, known)} Its top-level layers are {', '.join(top)}."
            )
            raise BackboneError(msg)
    try:
        names = {layer: layer for layer in layers} | dict(nodes or {})
        extractor: fx.GraphModule = create_feature_extractor(network, names)
    except (ValueError, fx.proxy.TraceError) as error:
        msg = f"{type(network).__name__} cannot be cut at {', '.join(layers)}: {error}"
        raise BackboneError(msg) from error
    return extractor
