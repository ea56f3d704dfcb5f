"""Any torchvision network, cut at some layers: the backbones with weights."""

import difflib
import pickle
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, fx, nn
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models.feature_extraction import create_feature_extractor

from fre_lightning.backbones.base import Backbone, state_digest
from fre_lightning.backbones.engines import (
    Engine,
    build_engine,
    keep_layers,
    n_images_together,
    resolve_engine,
)
from fre_lightning.errors import BackboneError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

RANDOM = "random"
_FILE_SUFFIXES = (".pth", ".pt", ".safetensors")


class TorchvisionBackbone(Backbone):
    """A torchvision network up to some layers, frozen, in evaluation mode.

    Attributes:
        network: The part of the network that the layers need; keys of its state are torchvision's.
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
        """Build the network; `load_weights` fills it.

        Args:
            name: The network's name in torchvision, for example `resnet18`.
            layers: The layer whose output is wanted, for example `layer3` or `features.6`; or
                several, from the shallowest to the deepest.
            pool: Kernel and stride of the average pooling, or one number for each layer.
            image_size: One number or `[height, width]`.
            weights: A name of torchvision's such as IMAGENET1K_V1, downloaded at first use; a
                `.pth` or `.safetensors` file; or `random`.
            seed: Of random weights.
            engine: What computes the network: `eager`, `compile`, `openvino`, or `auto`.
            tf32: Whether convolutions on NVIDIA GPUs may round their inputs to 11 bits, which
                torch does unless told otherwise.

        Raises:
            BackboneError: If torchvision has no such network, or the network no such layer.
        """
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
        else:  # drawing numbers that are then overwritten takes longer than reading the file
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
        if self.weights == RANDOM:
            return f"random (seed {self.seed})"
        return Path(self.weights).name

    def load_weights(self) -> None:
        """Fill the network with the weights that the constructor was told of.

        Raises:
            BackboneError: If they cannot be downloaded or read, or are of another network.
        """
        if self.weights == RANDOM:
            return
        if self.weights.endswith(_FILE_SUFFIXES):
            state: Mapping[str, Tensor] = _read_weights(Path(self.weights).expanduser())
        else:
            state = _download_weights(self.name, self.weights)
        needed = self.network.state_dict()
        _check_fit(needed, state, f"model.weights={self.weights}", self.name)
        self.network.load_state_dict({key: state.get(key, value) for key, value in needed.items()})
        self._engines = {}

    def engine_on(self, device: str) -> str:
        """The engine that computes the network on a type of device.

        Raises:
            BackboneError: If it is unknown, not installed, or not for this device.
        """
        return resolve_engine(self.engine, device)

    @property
    def n_together(self) -> int | None:
        """How many images a CPU thread works on at a time; None: the engine threads by itself."""
        return n_images_together(self.engine_on("cpu"), self.image_size)

    def accelerate(
        self,
        n_threads: int,
        precision: str,
        layers: Sequence[str] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Build the engine, on the weights and the device as they are now, unless it is there.

        Args:
            n_threads: How many CPU threads may call `forward` at the same time.
            precision: The trainer's; bfloat16 if it starts with `bf16`.
            layers: Those that `forward` will be asked for; all if None.
            cache_dir: Where OpenVINO's conversion is kept; None: nowhere.
        """
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

    def fingerprint(self, layer: str) -> dict[str, object]:
        """All that changes a layer's features, weights by content; a part of the cache key."""
        weights = state_digest(keep_layers(self.network, [layer]))
        return super().fingerprint(layer) | {"weights": weights, "tf32": self.tf32}

    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
        """Feature maps `(N, C, h, w)` of some layers, of `(N, 3, H, W)` uint8 images.

        Raises:
            BackboneError: If a layer's output is not a map.
        """
        chosen = self.layers if layers is None else tuple(layers)
        normalized = images.float().sub_(self.pixel_mean).div_(self.pixel_std)
        run = self._engines.get(chosen) or partial(self._run_plainly, chosen)
        if images.is_cuda:
            with torch.backends.cudnn.flags(benchmark=True, allow_tf32=self.tf32):
                feature_maps = run(normalized)
        else:
            feature_maps = run(normalized)
        for layer, feature_map in zip(chosen, feature_maps, strict=True):
            if feature_map.ndim != 4:
                msg = (
                    f"The output of {self.name}'s layer {layer} has shape "
                    f"{tuple(feature_map.shape)}: FRE needs a map of (N, C, h, w). "
                    "Choose model.layers before the network's pooling and classifier."
                )
                raise BackboneError(msg)
        return feature_maps

    def _run_plainly(self, layers: Sequence[str], images: Tensor) -> list[Tensor]:
        outputs = self.network(images)
        return [outputs[layer] for layer in layers]


def _build(name: str) -> nn.Module:
    """A torchvision classifier without weights."""
    if name not in list_models():
        msg = f"torchvision has no network called {name}.{_near(name, list_models())}"
        raise BackboneError(msg)
    # GoogLeNet and Inception warn about their slow default initialisation unless told.
    options = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    network: nn.Module = get_model(name, weights=None, **options)
    return network.eval()


def _cut(network: nn.Module, layers: Sequence[str]) -> nn.Module:
    """The part of a network that ends at some layers; it returns `{layer: output}`."""
    known = [name for name, _ in network.named_modules() if name]
    for layer in layers:
        if layer not in known:
            top = [name for name, _ in network.named_children()]
            msg = (
                f"{type(network).__name__} has no layer called {layer}.{_near(layer, known)} "
                f"Its top-level layers are {', '.join(top)}."
            )
            raise BackboneError(msg)
    try:
        extractor: nn.Module = create_feature_extractor(network, {name: name for name in layers})
    except (ValueError, fx.proxy.TraceError) as error:
        msg = f"{type(network).__name__} cannot be cut at {', '.join(layers)}: {error}"
        raise BackboneError(msg) from error
    return extractor


def _read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from a file, without running any code that the file may hold."""
    if not path.is_file():
        msg = f"There is no weights file {path}. Correct model.weights, or see the README's list."
        raise BackboneError(msg)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = (
            f"{path} cannot be read as weights ({reason}). It must be a .safetensors file, or a "
            ".pth file that torch.save wrote of a plain state dict."
        )
        raise BackboneError(msg) from error
    if isinstance(content, Mapping):  # training programs wrap the state dict
        content = content.get("state_dict", content.get("model", content))
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        msg = f"{path} holds no state dict (names of parameters with tensors)."
        raise BackboneError(msg)
    return {key.removeprefix("module."): value for key, value in content.items()}


def _download_weights(name: str, weights: str) -> Mapping[str, Tensor]:
    """Torchvision's own weights, from its download cache or from the network."""
    available = get_model_weights(name)
    if weights not in available.__members__:
        msg = (
            f"torchvision has no weights {weights} for {name}; it has "
            f"{', '.join(available.__members__)}. "
            "model.weights also takes a .pth or .safetensors file, or random."
        )
        raise BackboneError(msg)
    entry = available[weights]
    try:
        state: Mapping[str, Tensor] = entry.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        file_name = entry.url.rsplit("/", 1)[-1]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        msg = (
            f"The weights {weights} of {name} cannot be downloaded ({error}). Download "
            f"{entry.url} where there is a network, then put it at {folder / file_name} or set "
            "model.weights=FILE. Without any weights, use model=scattering."
        )
        raise BackboneError(msg) from error
    return state


def _check_fit(
    needed: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str, name: str
) -> None:
    """Refuse a state that lacks something below the layers or is of another network."""
    missing = [k for k in needed if k not in state and not k.endswith("num_batches_tracked")]
    if missing:
        msg = (
            f"{source} does not fit {name}: {len(missing)} of the {len(needed)} tensors that the "
            f"chosen layers need are missing, {missing[0]} the first. "
            f"It looks like weights of another network; give a file of torchvision's {name}."
        )
        raise BackboneError(msg)
    for key, value in needed.items():
        if key in state and state[key].shape != value.shape:
            msg = (
                f"{source} does not fit {name}: {key} is {tuple(state[key].shape)} where the "
                f"network has {tuple(value.shape)}. Give a file of torchvision's {name}."
            )
            raise BackboneError(msg)


def _near(word: str, words: Sequence[str]) -> str:
    """A sentence that names the nearest matches, or nothing."""
    matches = difflib.get_close_matches(word, words, n=5, cutoff=0.5)
    return f" Did you mean {', '.join(matches)}?" if matches else ""
