"""Engines that run a network: PyTorch, PyTorch's compiler, or OpenVINO.

Their float32 features agree to 1e-4 of the largest feature (tested).
"""

import copy
import importlib.util
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fre_lightning.backbones.openvino_store import import_openvino, load_or_convert
from fre_lightning.errors import BackboneError

ENGINES = ("auto", "eager", "compile", "openvino")

# A CPU's caches hold the activations of about this many pixels of a small network.
_PIXELS_PER_CALL = 2**17

Engine = Callable[[Tensor], list[Tensor]]
"""Maps normalised images `(N, 3, H, W)` to the outputs of layers."""


def resolve_engine(engine: str, device: str) -> str:
    """The engine for a setting on a device.

    `auto` is OpenVINO on a CPU if it is installed, else eager. OpenVINO is faster for networks of
    many small operations. Measured on 2 cores (AMD EPYC, AVX2), milliseconds an image: resnet18 at
    256x256 21 eager, 22 OpenVINO, 26 compiled; efficientnet_b5 at 456x456 270 eager, 190 OpenVINO
    (which takes 10 s to convert once), 226 compiled (which takes a minute).

    Raises:
        BackboneError: If it is unknown, not installed, or not for this device.
    """
    if engine not in ENGINES:
        msg = f"model.engine={engine} is unknown; choose one of {', '.join(ENGINES)}."
        raise BackboneError(msg)
    has_openvino = importlib.util.find_spec("openvino") is not None
    if engine == "auto":
        return "openvino" if device == "cpu" and has_openvino else "eager"
    if engine == "openvino" and not has_openvino:
        msg = "model.engine=openvino needs `pip install openvino`; model.engine=eager does not."
        raise BackboneError(msg)
    if engine == "openvino" and device != "cpu":
        msg = f"model.engine=openvino runs on the CPU, not on {device}: add trainer=cpu."
        raise BackboneError(msg)
    return engine


def images_per_thread(engine: str, image_size: tuple[int, int]) -> int | None:
    """Images a CPU thread handles per call; None if the engine is itself multi-threaded."""
    height, width = image_size
    return None if engine == "compile" else max(1, _PIXELS_PER_CALL // (height * width))


def build_engine(
    engine: str,
    network: nn.Module,
    image_size: tuple[int, int],
    *,
    n_threads: int,
    bf16: bool,
    cache_dir: Path | None,
    key: Mapping[str, object],
) -> Engine:
    """Build the engine of a network in evaluation mode, for the device of its parameters.

    Args:
        engine: `eager`, `compile` or `openvino`.
        network: Returns the tuple of its layers' outputs.
        image_size: `(H, W)`.
        n_threads: The number of threads that will call the engine at the same time.
        bf16: Whether OpenVINO may compute in bfloat16; for PyTorch autocast decides.
        cache_dir: Where OpenVINO's converted network is stored; None: nowhere.
        key: Everything that determines the conversion, weights by content; must survive JSON.
    """
    if engine == "openvino":
        model = load_or_convert(cache_dir, key, lambda: _convert(network, image_size))
        return _OpenVINO(model, n_threads, bf16=bf16)
    # Convolutions are fastest in this format, on CPUs and on tensor cores.
    folded = fold_batch_norm(network).to(memory_format=torch.channels_last)
    run = torch.compile(folded) if engine == "compile" else folded
    return lambda images: list(run(images.contiguous(memory_format=torch.channels_last)))


def keep_layers(network: fx.GraphModule, layers: Sequence[str]) -> fx.GraphModule:
    """The part of a feature extractor that some of its layers need; parameters are shared.

    Args:
        network: Returns `{layer: output}`.
        layers: Some of its layers.

    Returns:
        A network that returns the tuple of their outputs.
    """
    kept = fx.GraphModule(network, copy.deepcopy(network.graph))
    output = next(node for node in kept.graph.nodes if node.op == "output")
    output.args = (tuple(output.args[0][layer] for layer in layers),)
    kept.graph.eliminate_dead_code()
    kept.delete_all_unused_submodules()
    kept.recompile()
    return kept.eval()


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of a network in which batch normalisation is part of the convolution before it.

    Both are folded: calls in the graph of a traced network, and layers of `nn.Sequential`s, as
    torchvision's own blocks (`Conv2dNormActivation`) are not traced.

    Args:
        network: In evaluation mode.
    """
    folded = copy.deepcopy(network)
    for module in list(folded.modules()):
        module.training = False  # lost by the deep copy of a traced network
        if isinstance(module, nn.Sequential):
            _fold_sequential(module)
    if isinstance(folded, fx.GraphModule):
        _fold_calls(folded)
    return folded


def _fold_calls(folded: fx.GraphModule) -> None:
    calls = [node for node in folded.graph.nodes if node.op == "call_module"]
    for node in calls:
        source = node.args[0]
        if source not in calls or len(source.users) != 1:
            continue
        first, second = folded.get_submodule(source.target), folded.get_submodule(node.target)
        n_uses = sum(call.target in {source.target, node.target} for call in calls)
        fused = _fuse(first, second)
        if fused is not None and n_uses == 2:
            folded.set_submodule(source.target, fused)
            node.replace_all_uses_with(source)
            folded.graph.erase_node(node)
    folded.recompile()


def _fold_sequential(layers: nn.Sequential) -> None:
    for index, (first, second) in enumerate(pairwise(layers)):
        fused = _fuse(first, second)
        if fused is not None:
            layers[index], layers[index + 1] = fused, nn.Identity()


def _fuse(first: nn.Module, second: nn.Module) -> nn.Conv2d | None:
    """A convolution and the batch normalisation that follows it as one; None for other modules."""
    # A subclass of batch normalisation may do more: timm's is also the activation.
    if isinstance(first, nn.Conv2d) and type(second) is nn.BatchNorm2d:
        return fuse_conv_bn_eval(first.eval(), second.eval())
    return None


def _convert(network: nn.Module, image_size: tuple[int, int]) -> Any:
    """The `openvino.Model` of a network, for any number of images."""
    with torch.no_grad(), warnings.catch_warnings():
        for kind in (FutureWarning, torch.jit.TracerWarning):  # type: ignore[attr-defined]
            warnings.simplefilter("ignore", kind)  # of torch, about OpenVINO's tracing
        return import_openvino().convert_model(
            fold_batch_norm(network),
            example_input=torch.zeros(1, 3, *image_size),
            input=[-1, 3, *image_size],
        )


class _OpenVINO:
    """A network compiled by OpenVINO; each thread has its own request."""

    def __init__(self, model: Any, n_threads: int, *, bf16: bool) -> None:
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": n_threads,
            "INFERENCE_NUM_THREADS": n_threads,
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        }
        self._compiled = import_openvino().Core().compile_model(model, "CPU", settings)
        self._requests = threading.local()

    def __call__(self, images: Tensor) -> list[Tensor]:
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        request = self._requests.own
        request.infer([images.contiguous().numpy()], share_inputs=True)
        return [torch.from_numpy(output.data.copy()) for output in request.output_tensors]
