"""The backbones with weights: any torchvision network, cut at some layers."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torchvision.models import get_model, list_models
from torchvision.models.feature_extraction import create_feature_extractor

from fre_lightning.backbones.base import Backbone
from fre_lightning.backbones.engines import (
    Engine,
    build_engine,
    fold_batch_norm,
    images_per_thread,
    keep_layers,
    resolve_engine,
)
from fre_lightning.backbones.weights import RANDOM, load_state
from fre_lightning.errors import BackboneError, did_you_mean
from fre_lightning.fitted import state_digest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class TorchvisionBackbone(Backbone):
    """A torchvision network up to some layers, frozen, in evaluation mode.

    Its features are never compressed, so there is no parameter `compression`.

    Args:
        name: Torchvision's, for example `resnet18`.
        layers: A layer, for example `layer3` or `features.6`; or several, from the shallowest to
            the deepest.
        pool: Kernel and stride of the average pooling, or one number for each layer.
        image_size: One number or `[height, width]`.
        weights: A name of torchvision's such as IMAGENET1K_V1, downloaded at first use; a `.pth` or
            `.safetensors` file; or `random`.
        seed: The seed of random weights.
        engine: `eager`, `compile`, `openvino`, or `auto`: see `resolve_engine`.
        tf32: Whether NVIDIA GPUs may round inputs of convolutions to 11 bits, torch's default.

    Raises:
        BackboneError: If torchvision has no such network, or the network no such layer.

    Attributes:
        network: The part that the layers need; parameters keep torchvision's names.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        name: str,
        layers: str | Sequence[str],
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
        if weights == RANDOM:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.network = _cut(_build(name), self.layers)
        else:  # no random initialisation, which takes longer than reading the file
            with torch.device("meta"):
                self.network = _cut(_build(name), self.layers)
            self.network.to_empty(device="cpu")
            for buffer in self.network.buffers():
                buffer.zero_()
        for key, values in (("pixel_mean", IMAGENET_MEAN), ("pixel_std", IMAGENET_STD)):
            pixels = 255 * torch.tensor(values).view(3, 1, 1)
            self.register_buffer(key, pixels, persistent=False)
        self.eval().requires_grad_(requires_grad=False)

    @property
    def weights_label(self) -> str:
        """The weights' name, file name, or `random` with its seed."""
        is_random = self.weights == RANDOM
        return f"random (seed {self.seed})" if is_random else Path(self.weights).name

    def load_weights(self) -> None:
        """Load the weights named in the constructor, see `load_state`."""
        if self.weights != RANDOM:
            state = load_state(self.name, self.weights, self.network.state_dict())
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
                keep_layers(self.network, chosen),
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
        weights = state_digest(keep_layers(self.network, [layer]).state_dict())
        return super().fingerprint(layer) | {"weights": weights, "tf32": self.tf32}

    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """Feature maps `(N, C, h, w)` of some layers of `(N, 3, H, W)` uint8 images."""
        chosen = self.layers if layers is None else tuple(layers)
        normalized = images.float().sub_(self.pixel_mean).div_(self.pixel_std)
        flags = torch.backends.cudnn.flags(benchmark=True, allow_tf32=self.tf32)
        with flags if images.is_cuda else nullcontext():
            if chosen in self._engines:
                feature_maps = self._engines[chosen](normalized)
            else:
                outputs = self.network(normalized)
                feature_maps = [outputs[layer] for layer in chosen]
        for layer, feature_map in zip(chosen, feature_maps, strict=True):
            if feature_map.ndim != 4:
                msg = (
                    f"{self.name}'s {layer} gives {tuple(feature_map.shape)}: FRE needs a map, "
                    "(N, C, h, w). Choose model.layers before the network's pooling and classifier."
                )
                raise BackboneError(msg)
        return feature_maps


def _build(name: str) -> nn.Module:
    """A torchvision classifier without weights."""
    if name not in list_models():
        msg = f"torchvision has no network called {name}.{did_you_mean(name, list_models())}"
        raise BackboneError(msg)
    # Without this, GoogLeNet and Inception warn about their slow default initialisation.
    options = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    network: nn.Module = get_model(name, weights=None, **options)
    return network.eval()


def _cut(network: nn.Module, layers: Sequence[str]) -> fx.GraphModule:
    """The part of a network that ends at some layers; it returns `{layer: output}`."""
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
        names = {layer: layer for layer in layers}
        extractor: fx.GraphModule = create_feature_extractor(network, names)
    except (ValueError, fx.proxy.TraceError) as error:
        msg = f"{type(network).__name__} cannot be cut at {', '.join(layers)}: {error}"
        raise BackboneError(msg) from error
    return extractor
