import sys

import pytest
import torch
from safetensors.torch import save_file

from fre_lightning.backbones import TimmBackbone
from fre_lightning.errors import BackboneError
from tests.backbones.test_engines import TOLERANCE, unsettle

timm = pytest.importorskip("timm")

VIT, CONVOLUTIONAL = "test_vit", ["test_convnext", "test_efficientnet", "test_resnet"]
SIZE = (64, 96)


def make(name=VIT, layers=(1, 3), size=SIZE, weights="random", engine="eager"):
    backbone = TimmBackbone(name, layers, 1, size, weights, 0, engine, tf32=False)
    backbone.load_weights()
    return backbone


def draw(n=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, *SIZE), dtype=torch.uint8, generator=generator)


@pytest.fixture
def make_file(tmp_path):
    """Writes weights of a network, as timm makes it."""

    def make_one(name):
        torch.manual_seed(5)
        network = timm.create_model(name)
        unsettle(network)
        save_file(network.state_dict(), tmp_path / "network.safetensors")
        return tmp_path / "network.safetensors"

    return make_one


def normalized(network):
    config = timm.data.resolve_model_data_config(network)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (draw() / 255 - mean) / std


def assert_close(actual, expected):
    for got, wanted in zip(actual, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "n_tokens"), [(VIT, 1), ("test_vit2", 1), ("test_vit_relpos", 0)])
@pytest.mark.skipif(not timm.is_model("test_vit_relpos"), reason="timm has it since 1.0.31")
def test_a_transformers_maps_are_its_blocks_tokens_of_patches(name, n_tokens, make_file):
    path, tokens = make_file(name), []
    file = {"file": str(path)}
    network = timm.create_model(
        name, pretrained=True, img_size=SIZE, pretrained_cfg_overlay=file
    ).eval()
    assert network.num_prefix_tokens == n_tokens
    for block in (network.blocks[1], network.blocks[3]):
        block.register_forward_hook(lambda _module, _inputs, output: tokens.append(output))
    with torch.inference_mode():
        network(normalized(network))
        maps = make(name, weights=str(path))(draw())
    height, width = SIZE[0] // 16, SIZE[1] // 16
    expected = [each[:, n_tokens:].mT.unflatten(2, (height, width)) for each in tokens]
    assert_close(maps, expected)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_convolutional_networks_maps_are_those_of_features_only(name, make_file):
    path = make_file(name)
    whole = timm.create_model(name, checkpoint_path=path)
    network = timm.create_model(name, features_only=True, out_indices=(1, 3)).eval()
    flat = {key.replace(".", "_", 1): value for key, value in whole.state_dict().items()}
    own = {**flat, **whole.state_dict()}
    network.load_state_dict({key: own[key] for key in network.state_dict()})
    with torch.inference_mode():
        assert_close(make(name, weights=str(path))(draw()), network(normalized(whole)))


@pytest.mark.parametrize("name", [VIT, *CONVOLUTIONAL])
@pytest.mark.parametrize(
    "engine", ["eager", "openvino", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_engines_agree_with_the_network_itself(name, engine, make_file):
    if engine == "openvino":
        pytest.importorskip("openvino")
    backbone = make(name, weights=str(make_file(name)), engine=engine)
    with torch.inference_mode():
        plain = backbone(draw(), ["3"])[0]
        backbone.accelerate(2, "32-true", ["3"])
        fast = backbone(draw(), ["3"])[0]
    assert (fast - plain).abs().max() <= TOLERANCE * plain.abs().max()


@pytest.mark.parametrize("name", [VIT, *CONVOLUTIONAL])
def test_a_layer_needs_nothing_above_it(name):
    alone, several = make(name, 1), make(name, [1, 3])
    assert several.fingerprint("1") == alone.fingerprint("1")
    assert several.fingerprint("1") != several.fingerprint("3")
    assert alone.state_dict().keys() < several.state_dict().keys()
    assert len(several.state_dict()) < len(timm.create_model(name).state_dict())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "test_vjt"}, "Did you mean test_vit"),
        ({"layers": [1, 6]}, "6 intermediate features: give model.layers of 0 to 5"),
        ({"layers": [-1]}, "0 to 5"),
        ({"size": (100, 96)}, r"16 x 16 pixels.*\[96, 96\]"),
        ({"weights": "IMAGENET1K_V1"}, "there are pretrained"),
    ],
)
def test_mistakes_are_told(changes, words):
    with pytest.raises(BackboneError, match=words):
        make(**changes)


def test_weights_of_another_network_are_told(make_file):
    with pytest.raises(BackboneError, match="does not fit test_vit"):
        make(weights=str(make_file("test_resnet")))


def test_offline_it_says_so(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("no network")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(BackboneError, match=r"cannot download.*no network.*model\.weights=FILE"):
        make(weights="pretrained")


def test_without_timm_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackboneError, match="pip install"):
        make()
