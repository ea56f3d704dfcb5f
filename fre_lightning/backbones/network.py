"""The base class of backbones that are networks with weights."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from fre_lightning.backbones.base import Backbone
from fre_lightning.backbones.engines import (
    Engine,
    build_engine,
    fold_batch_norm,
    images_per_thread,
    resolve_engine,
)
from fre_lightning.backbones.weights import PRETRAINED, RANDOM, load_state
from fre_lightning.errors import BackboneError
from fre_lightning.fitted import state_digest


class NetworkBackbone(Backbone):
    """A network up to some layers, frozen, in evaluation mode.

    Its features are never compressed, so there is no parameter `compression`. A subclass says where
    the network, its weights and the statistics of its pixels come from.

    Args:
        name: The network's name where it comes from.
        layers: A layer; or several, from the shallowest to the deepest.
        pool: Kernel and stride of the average pooling, or one number for each layer.
        image_size: One number or `[height, width]`.
        weights: One of `weights_names`; a `.pth` or `.safetensors` file; or `random`.
        seed: The seed of random weights.
        engine: `eager`, `compile`, `openvino`, or `auto`: see `resolve_engine`.
        tf32: Whether NVIDIA GPUs may round inputs of convolutions to 11 bits, torch's default.

    Raises:
        BackboneError: If there is no such network, or the network has no such layer.

    Attributes:
        network: The part that the layers need; returns `{layer: output}`.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        name: str,
        layers: str | int | Sequence[str | int],
        pool: int | Sequence[int],
        image_size: int | Sequence[int],
        weights: str,
        seed: int,
        engine: str,
        tf32: bool,
    ) -> None:
        super().__init__(name, layers, pool, image_size)
        self.weights = weights
        self.seed = seed
        self.engine = engine
        self.tf32 = tf32
        self._engines: dict[tuple[str, ...], Engine] = {}
        self._built_for: tuple[torch.device, int, str] | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = self.build_network()
        names = ("pixel_mean", "pixel_std")
        for key, values in zip(names, self.pixel_statistics(), strict=True):
            self.register_buffer(key, values.view(3, 1, 1), persistent=False)
        self.eval().requires_grad_(requires_grad=False)

    @abstractmethod
    def build_network(self) -> nn.Module:
        """The part of the network that the layers need; it returns `{layer: output}`.

        Its weights are random if `weights` is `random`, else of any value.
        """

    @abstractmethod
    def pixel_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation `(3,)` of red, green and blue, each in 0..255."""

    @property
    def weights_names(self) -> Sequence[str]:
        """The names of weights that `find_weights` finds."""
        return (PRETRAINED,)

    @abstractmethod
    def find_weights(self, stored: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        """The state dict of the weights, which may have more than the network needs.

        Args:
            stored: The state dict of a file; None: `weights` is one of `weights_names`.

        Raises:
            BackboneError: If they are not there.
        """

    @abstractmethod
    def keep_layers(self, layers: Sequence[str]) -> nn.Module:
        """The part of the network that some layers need; it returns the tuple of their outputs.

        Parameters are shared.
        """

    @property
    def weights_label(self) -> str:
        """The weights' name, file name, or `random` with its seed."""
        is_random = self.weights == RANDOM
        return f"random (seed {self.seed})" if is_random else Path(self.weights).name

    def load_weights(self) -> None:
        """Load the weights named in the constructor, see `load_state`."""
        if self.weights != RANDOM:
            needed = self.network.state_dict()
            state = load_state(
                self.name, self.weights, self.weights_names, self.find_weights, needed, self.group
            )
            self.network.load_state_dict(state)
            self._engines = {}

    def engine_on(self, device: str) -> str:
        """The engine on a type of device, see `resolve_engine`."""
        return resolve_engine(self.engine, device)

    @property
    def images_per_thread(self) -> int | None:
        """Images a CPU thread handles per call; None if the engine is itself multi-threaded."""
        return images_per_thread(self.engine_on("cpu"), self.image_size)

    def accelerate(
        self,
        n_threads: int,
        precision: str,
        layers: Sequence[str] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Build the engine for the present weights and device, unless it exists."""
        built_for = (self.pixel_mean.device, n_threads, precision)
        if self._built_for != built_for:
            self._engines, self._built_for = {}, built_for
        chosen = self.layers if layers is None else tuple(layers)
        if chosen not in self._engines:
            self._engines[chosen] = build_engine(
                self.engine_on(self.pixel_mean.device.type),
                self.keep_layers(chosen),
                self.image_size,
                n_threads=n_threads,
                bf16=precision.startswith("bf16"),
                cache_dir=cache_dir,
                key={"layers": [self.fingerprint(layer) for layer in chosen]},
            )

    def prepare_export(self) -> None:
        """Make batch normalisation a part of the convolutions."""
        self.network = fold_batch_norm(self.network)

    def fingerprint(self, layer: str) -> dict[str, object]:
        """Everything that changes a layer's features, weights by content; part of the cache key."""
        weights = state_digest(self.keep_layers([layer]).state_dict())
        return super().fingerprint(layer) | {"weights": weights, "tf32": self.tf32}

    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """Feature maps `(N, C, h, w)` of some layers of `(N, 3, H, W)` uint8 images."""
        chosen = self.layers if layers is None else tuple(layers)
        feature_maps = self.outputs(images, chosen)
        for layer, feature_map in zip(chosen, feature_maps, strict=True):
            if feature_map.ndim != 4:
                msg = (
                    f"{self.name}'s {layer} gives {tuple(feature_map.shape)}: FRE needs a map, "
                    "(N, C, h, w). Choose model.layers before the network's pooling and classifier."
                )
                raise BackboneError(msg)
        return feature_maps

    def outputs(self, images: Tensor, layers: tuple[str, ...]) -> list[Tensor]:
        """What some layers give, of any shape, for `(N, 3, H, W)` uint8 images."""
        normalized = images.float().sub_(self.pixel_mean).div_(self.pixel_std)
        flags = torch.backends.cudnn.flags(benchmark=True, allow_tf32=self.tf32)
        with flags if images.is_cuda else nullcontext():
            if layers in self._engines:
                return self._engines[layers](normalized)
            found = self.network(normalized)
            return [found[layer] for layer in layers]
