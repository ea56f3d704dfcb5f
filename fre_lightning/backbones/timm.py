"""The backbones of timm: convolutional networks and vision transformers."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fre_lightning.backbones.network import NetworkBackbone
from fre_lightning.errors import BackboneError, did_you_mean
from fre_lightning.fitted import copy_sharing_tensors
from fre_lightning.images.resizing import parse_image_size


class TimmBackbone(NetworkBackbone):
    """A timm network up to some of its intermediate features; see `NetworkBackbone`.

    Layers are the numbers of timm's intermediate features, from 0: blocks of a transformer, stages
    of other networks. Class and register tokens are left out. Weights `pretrained` are those of the
    name's tag, downloaded at first use.
    """

    network: "_Intermediates"

    def build_network(self) -> "_Intermediates":
        """The part of the network that the layers need."""
        check_name(self.name)
        try:
            model = self._create()
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            msg = f"timm has no {self.name} for model.image_size={list(self.image_size)}: {error}"
            raise BackboneError(msg) from error
        self._check_patches(model)
        features = [str(i) for i in range(len(model.feature_info))]
        if not hasattr(model, "forward_intermediates") or not set(self.layers) <= set(features):
            msg = (
                f"{self.name} has {len(features)} intermediate features: give model.layers of "
                f"0 to {len(features) - 1}, not {', '.join(self.layers)}."
            )
            raise BackboneError(msg)
        return _Intermediates(model, self.layers)

    def pixel_statistics(self) -> tuple[Tensor, Tensor]:
        """Those that timm's configuration gives for the weights."""
        config = self.network.model.pretrained_cfg
        return 255 * torch.tensor(config["mean"]), 255 * torch.tensor(config["std"])

    def find_weights(self, stored: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        """Timm's weights or a file's, their position embeddings resized to the image size."""
        overlay = None if stored is None else {"state_dict": dict(stored)}
        try:
            model = self._create(pretrained=True, pretrained_cfg_overlay=overlay)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            msg = f"model.weights={self.weights} does not fit {self.name}: {reason}."
            if stored is None:
                msg = (
                    f"timm cannot download the weights of {self.name} ({reason}). Set "
                    "model.weights=FILE, or a name with a tag that timm.list_pretrained() has."
                )
            raise BackboneError(msg) from error
        state: Mapping[str, Tensor] = _Intermediates(model, self.layers).state_dict()
        return state

    def keep_layers(self, layers: Sequence[str]) -> nn.Module:
        """The part of the network that some layers need; it returns the tuple of their outputs."""
        return _TupleOfIntermediates(copy_sharing_tensors(self.network.model), layers)

    def fingerprint(self, layer: str) -> dict[str, object]:
        """As of any network, and the pixels' statistics, which timm may correct."""
        pixels = [values.flatten().tolist() for values in (self.pixel_mean, self.pixel_std)]
        return super().fingerprint(layer) | {"pixels": pixels}

    def _create(self, **options: Any) -> Any:
        """The whole network, for the image size if it is made for one."""
        timm = import_timm()
        if timm.models.get_pretrained_cfg(self.name).fixed_input_size:
            options["img_size"] = self.image_size
        return timm.create_model(self.name, **options)

    def _check_patches(self, model: nn.Module) -> None:
        patches = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
        pairs = [*zip(self.image_size, parse_image_size(patches), strict=True)]
        if any(side % patch for side, patch in pairs):
            fitting = [patch * max(1, round(side / patch)) for side, patch in pairs]
            msg = (
                f"{self.name} cuts images into patches of {' x '.join(str(p) for _, p in pairs)} "
                f"pixels, and model.image_size={list(self.image_size)} is no whole number of them. "
                f"Take model.image_size={fitting}."
            )
            raise BackboneError(msg)


class _Intermediates(nn.Module):
    """The part of a timm network that some intermediate features need: `{layer: (N, C, h, w)}`."""

    def __init__(self, model: Any, layers: Sequence[str]) -> None:
        super().__init__()
        self.indices = sorted(map(int, layers))
        self.layers = tuple(layers)
        self.model = model
        model.prune_intermediate_layers(self.indices)

    def forward(self, images: Tensor) -> Any:
        maps = self.model.forward_intermediates(
            images,
            indices=self.indices,
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        found = dict(zip(self.indices, maps, strict=True))
        return {layer: found[int(layer)] for layer in self.layers}


class _TupleOfIntermediates(_Intermediates):
    def forward(self, images: Tensor) -> Any:
        return tuple(super().forward(images).values())


def check_name(name: str) -> None:
    """See whether timm has a network.

    Raises:
        BackboneError: If it has none of this name, or is not installed.
    """
    timm = import_timm()
    known = [*timm.list_models(), *timm.list_models(pretrained=True)]
    if name not in known:
        msg = f"timm has no network called {name}.{did_you_mean(name, known)}"
        raise BackboneError(msg)


def import_timm() -> Any:
    """The module timm.

    Raises:
        BackboneError: If it is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        msg = 'This network is one of timm: `pip install "fre-lightning[timm]"`.'
        raise BackboneError(msg) from error
