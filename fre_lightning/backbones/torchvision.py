"""The backbones of torchvision: any of its networks, cut at some layers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models

from fre_lightning.backbones.traced import TracedBackbone
from fre_lightning.errors import BackboneError, did_you_mean

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class TorchvisionBackbone(TracedBackbone):
    """A torchvision network up to some layers; parameters keep torchvision's names.

    Layers are called as torchvision's modules, `layer3` or `features.6`. Weights are called as
    torchvision's, for example IMAGENET1K_V1, and downloaded at first use. See `NetworkBackbone`.
    """

    @property
    def options(self) -> dict[str, Any]:
        """Further arguments of torchvision's constructor."""
        return {}

    def build_whole(self) -> nn.Module:
        """A torchvision classifier without weights."""
        if self.name not in list_models():
            msg = (
                f"torchvision has no network called {self.name}."
                f"{did_you_mean(self.name, list_models())}"
            )
            raise BackboneError(msg)
        # Without this, GoogLeNet and Inception warn about their slow default initialisation.
        options = {"init_weights": False} if self.name in {"googlenet", "inception_v3"} else {}
        network: nn.Module = get_model(self.name, weights=None, **options, **self.options)
        return network.eval()

    def pixel_statistics(self) -> tuple[Tensor, Tensor]:
        """Those of ImageNet."""
        return 255 * torch.tensor(IMAGENET_MEAN), 255 * torch.tensor(IMAGENET_STD)

    @property
    def weights_names(self) -> Sequence[str]:
        """Torchvision's names."""
        return tuple(get_model_weights(self.name).__members__)

    def find_weights(self, stored: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        """A file's weights, or torchvision's from its download cache or from the network."""
        if stored is not None:
            return stored
        entry = get_model_weights(self.name)[self.weights]
        try:
            state: Mapping[str, Tensor] = entry.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            file_name = entry.url.rsplit("/", 1)[-1]
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            msg = (
                f"The weights {self.weights} of {self.name} cannot be downloaded ({error}). "
                f"Download {entry.url} where there is a network, then put it at "
                f"{folder / file_name} or set model.weights=FILE. Without any weights, use "
                "model=scattering."
            )
            raise BackboneError(msg) from error
        return state
