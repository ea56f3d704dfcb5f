"""Classifiers: those of torchvision and of timm, and a small one to train on small images."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import get_model_weights, list_models

from fre_lightning.backbones.timm import check_name, import_timm
from fre_lightning.backbones.torchvision import TorchvisionBackbone
from fre_lightning.errors import BackboneError
from fre_lightning.ood.classifier import NetworkClassifier
from fre_lightning.ood.windows import Pool


class TorchvisionClassifier(NetworkClassifier, TorchvisionBackbone):
    """A torchvision network with its head; see `NetworkClassifier`."""

    @property
    def options(self) -> dict[str, Any]:
        """The number of classes."""
        return {"num_classes": self.n_classes}

    def build_whole(self) -> nn.Module:
        """The network without weights."""
        if self.name in set(list_models()) - {*list_models(module=models)}:
            msg = f"torchvision's {self.name} is no classifier, it has no head. Choose another."
            raise BackboneError(msg)
        return super().build_whole()

    def classes_of_weights(self) -> int | None:
        """The number of classes that torchvision lists for its weights."""
        known = get_model_weights(self.name).__members__
        return len(known[self.weights].meta["categories"]) if self.weights in known else None


class TimmClassifier(NetworkClassifier):
    """A timm network with its head, if torch.fx can record it; see `NetworkClassifier`.

    Weights `pretrained` are those of the name's tag, downloaded at first use.
    """

    def build_whole(self) -> nn.Module:
        """The network without weights."""
        check_name(self.name)
        return self._create()

    def pixel_statistics(self) -> tuple[Tensor, Tensor]:
        """Those that timm's configuration gives for the weights."""
        config = import_timm().models.get_pretrained_cfg(self.name)
        return 255 * torch.tensor(config.mean), 255 * torch.tensor(config.std)

    def classes_of_weights(self) -> int | None:
        """The number of classes of the name's tag."""
        n_classes: int = import_timm().models.get_pretrained_cfg(self.name).num_classes
        return n_classes

    def find_weights(self, stored: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        """A file's weights, or timm's."""
        if stored is not None:
            return stored
        try:
            state: Mapping[str, Tensor] = self._create(pretrained=True).state_dict()
        except (OSError, RuntimeError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            msg = (
                f"timm cannot download the weights of {self.name} ({reason}). Set "
                "classifier.weights=FILE, or a name with a tag that timm.list_pretrained() has."
            )
            raise BackboneError(msg) from error
        return state

    def _create(self, **options: Any) -> nn.Module:
        timm = import_timm()
        if timm.models.get_pretrained_cfg(self.name).fixed_input_size:
            options["img_size"] = self.image_size
        network: nn.Module = timm.create_model(self.name, num_classes=self.n_classes, **options)
        return network.eval()


class SmallClassifier(NetworkClassifier):
    """Three convolutions with batch normalisation, an average and a linear layer.

    Args:
        layers: As of `NetworkClassifier`; below the head are `blocks.0`, `blocks.1`, `blocks.2`.
        pool: As of `NetworkClassifier`.
        image_size: As of `NetworkClassifier`; at least 4.
        weights: A file, `train` or `random`.
        width: Channels of the first convolution; the second has twice, the third four times that.
        seed: As of `NetworkClassifier`.
        n_classes: As of `NetworkClassifier`.
    """

    def __init__(
        self,
        layers: str | Sequence[str],
        pool: Pool,
        image_size: int | Sequence[int],
        weights: str,
        width: int,
        seed: int,
        n_classes: int,
    ) -> None:
        self.width = width
        super().__init__("small", layers, pool, image_size, weights, seed, n_classes)

    @property
    def weights_names(self) -> Sequence[str]:
        """There are none to download."""
        return ()

    def classes_of_weights(self) -> int | None:
        """There are none."""
        return None

    def build_whole(self) -> nn.Module:
        """The network without weights."""
        return _Small(self.width, self.n_classes).eval()

    def pixel_statistics(self) -> tuple[Tensor, Tensor]:
        """The middle of the levels, and half of their range."""
        return torch.full((3,), 127.5), torch.full((3,), 127.5)

    def find_weights(self, stored: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        """A file's."""
        if stored is None:
            msg = f"There are no weights {self.weights} of the small classifier: give a file."
            raise BackboneError(msg)
        return stored


class _Small(nn.Module):
    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        channels = [3, width, 2 * width, 4 * width]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(channels[i], channels[i + 1], 3, 1 if i == 0 else 2, 1, bias=False),
                    nn.BatchNorm2d(channels[i + 1]),
                    nn.ReLU(),
                )
                for i in range(3)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels[3], n_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.blocks(images)).flatten(1))
        return logits
