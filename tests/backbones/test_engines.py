import pytest
import torch
from torch import nn

from fre_lightning.backbones import EfficientNetLite, TorchvisionBackbone
from fre_lightning.backbones.engines import (
    fold_batch_norm,
    images_per_thread,
    keep_layers,
    resolve_engine,
)
from fre_lightning.errors import BackboneError

TOLERANCE = 1e-4
NETWORKS = [
    ("resnet18", "layer2"),
    ("efficientnet_b0", "features.3"),
    ("efficientnet_lite0", "blocks.4"),
    ("vgg11_bn", "features.10"),
]


def unsettle(network: nn.Module) -> None:
    """Batch norms of a network that has seen data; those of a fresh one do nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator).mul_(0.1)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 2, generator=generator)
            module.bias.data.normal_(generator=generator)


def make(name="resnet18", layer="layer2", engine="eager"):
    kind = EfficientNetLite if "lite" in name else TorchvisionBackbone
    backbone = kind(name, layer, 2, 64, "random", 0, engine, tf32=False)
    unsettle(backbone.network)
    return backbone


def draw(n=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("name", "layer"), NETWORKS)
@pytest.mark.parametrize(
    "engine", ["eager", "openvino", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_engines_agree_with_the_network_itself(name, layer, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    backbone = make(name, layer, engine)
    with torch.inference_mode():
        (plain,) = backbone(draw())
        backbone.accelerate(2, "32-true")
        (fast,) = backbone(draw())
    assert fast.shape == plain.shape
    assert (fast - plain).abs().max() <= TOLERANCE * plain.abs().max()
    assert not torch.equal(fast, plain)  # it was another program that ran


@pytest.mark.parametrize(("name", "layer"), NETWORKS)
def test_no_batch_norm_is_left(name, layer):
    network = make(name, layer).network
    folded = fold_batch_norm(network)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    left = [node for node in folded.graph.nodes if node.op == "call_module"]
    called = [folded.get_submodule(node.target) for node in left]
    layers = [module for root in called for module in root.modules()]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in layers)


def test_a_convolution_that_is_used_twice_is_not_folded():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, images):
            return {"map": self.norm(self.conv(images)) + self.conv(images)}

    network = torch.fx.symbolic_trace(Twice().eval()).eval()
    unsettle(network)
    images = torch.rand(1, 3, 4, 4)
    expected, folded = network(images)["map"], fold_batch_norm(network)(images)["map"]
    torch.testing.assert_close(folded, expected)


def test_an_engine_is_built_once_for_a_precision():
    """An engine holds the weights that it was built on, so that a new one shows."""
    backbone, image = make(), draw(1)

    def accelerated(precision):
        backbone.accelerate(1, precision)
        return backbone(image)[0]

    first = accelerated("32-true")
    backbone.network.get_parameter("conv1.weight").mul_(2)
    assert torch.equal(accelerated("32-true"), first)
    second = accelerated("bf16-mixed")
    assert not torch.allclose(second, first)
    backbone.network.get_parameter("conv1.weight").mul_(2)
    assert torch.equal(accelerated("bf16-mixed"), second)
    assert not torch.allclose(accelerated("32-true"), first)


@pytest.mark.parametrize("engine", ["eager", "openvino"])
def test_some_layers_take_only_what_they_need(engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    backbone = TorchvisionBackbone(
        "resnet18", ["layer1", "layer2", "layer3"], [2, 1, 1], 64, "random", 0, engine, tf32=False
    )
    with torch.inference_mode():
        first, _, third = backbone.features(draw())
        backbone.accelerate(1, "32-true", ["layer3", "layer1"])
        again_third, again_first = backbone.features(draw(), ["layer3", "layer1"])
    assert first.shape[1:] == (64, 8, 8)
    assert third.shape[1:] == (256, 4, 4)
    torch.testing.assert_close(again_first, first, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again_third, third, rtol=1e-4, atol=1e-4)
    small = keep_layers(backbone.network, ["layer1"])
    assert {key.split(".")[0] for key in small.state_dict()} == {"conv1", "bn1", "layer1"}


def accelerated(cache_dir, **changes):
    """Features by OpenVINO of a fresh backbone with a cache."""
    backbone = make("squeezenet1_0", "features.3", "openvino")
    for name, value in changes.items():
        backbone.network.get_parameter(name).data += value
    with torch.inference_mode():
        backbone.accelerate(1, "32-true", cache_dir=cache_dir)
        return backbone(draw())[0]


def test_a_converted_network_is_kept(tmp_path, monkeypatch):
    ov = pytest.importorskip("openvino")
    converted, convert_model = [], ov.convert_model

    def count(*args, **kwargs):
        converted.append(1)
        return convert_model(*args, **kwargs)

    monkeypatch.setattr(ov, "convert_model", count)
    first, second = accelerated(tmp_path), accelerated(tmp_path)
    assert len(converted) == 1
    assert torch.equal(first, second)
    # The network itself is the judge: half precision, OpenVINO's default on disk, would show.
    with torch.inference_mode():
        (plain,) = make("squeezenet1_0", "features.3")(draw())
    assert (second - plain).abs().max() <= TOLERANCE * plain.abs().max()
    other = accelerated(tmp_path, **{"features.0.bias": 1.0})  # other weights
    assert len(converted) == 2
    assert not torch.equal(first, other)


def test_the_weights_in_a_checkpoint_are_torchvisions():
    backbone = make()
    before = set(backbone.state_dict())
    backbone.accelerate(1, "32-true")
    assert set(backbone.state_dict()) == before


def test_auto_is_resolved_by_device_and_installation(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert resolve_engine("auto", "cpu") == "eager"
    with pytest.raises(BackboneError, match="pip install"):
        resolve_engine("openvino", "cpu")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    assert resolve_engine("auto", "cpu") == "openvino"
    assert resolve_engine("auto", "cuda") == "eager"
    with pytest.raises(BackboneError, match="trainer=cpu"):
        resolve_engine("openvino", "cuda")
    with pytest.raises(BackboneError, match="eager, compile, openvino"):
        resolve_engine("warp", "cpu")


def test_large_images_are_worked_on_one_by_one():
    assert images_per_thread("eager", (256, 256)) == 2
    assert images_per_thread("eager", (2000, 8000)) == 1
    assert images_per_thread("compile", (256, 256)) is None
