import pytest
import torch
from torchvision.models import get_model

from fre_lightning.backbones import TorchvisionBackbone
from fre_lightning.backbones.torchvision import IMAGENET_MEAN, IMAGENET_STD
from fre_lightning.errors import BackboneError, ConfigError


def make(weights="random", name="resnet18", layer="layer1", seed=0, engine="eager"):
    return TorchvisionBackbone(name, layer, 2, 64, weights, seed, engine, tf32=False)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.fixture
def network():
    torch.manual_seed(5)
    return get_model("resnet18", weights=None).eval()


def test_features_are_those_of_the_whole_network_with_imagenet_normalisation(
    network, images, tmp_path
):
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    backbone = make(str(tmp_path / "resnet18.pth"))
    backbone.load_weights()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    seen = []
    network.layer1.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.inference_mode():
        network((images / 255 - mean) / std)
        torch.testing.assert_close(backbone(images)[0], seen[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "layer", "words"),
    [("resnet19", "layer3", "resnet18"), ("resnet18", "layr3", "Did you mean layer3")],
)
def test_names_that_are_wrong_list_near_matches(name, layer, words):
    with pytest.raises(BackboneError, match=words):
        make(name=name, layer=layer)


def test_a_layer_that_gives_no_map(images):
    with pytest.raises(BackboneError, match="needs a map"):
        make(layer="fc")(images)


def test_random_weights_are_seeded_and_leave_the_generator_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    digests = [make(seed=seed).fingerprint("layer1")["weights"] for seed in (0, 0, 1)]
    assert torch.equal(state, torch.get_rng_state())
    assert digests[0] == digests[1] != digests[2]
    assert make(seed=7).weights_label == "random (seed 7)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("efficientnet_b5", "features.6", (304, 15, 15)),
        ("resnet50", "layer3", (1024, 29, 29)),
        ("wide_resnet50_2", "layer3", (1024, 29, 29)),
        ("vgg16", "features.23", (512, 28, 28)),
        ("mobilenet_v3_large", "features.12", (112, 29, 29)),
    ],
)
def test_shipped_networks(name, layer, shape):
    backbone = TorchvisionBackbone(name, layer, 2, 456, "random", 0, "auto", tf32=False)
    images = torch.zeros(1, 3, 456, 456, dtype=torch.uint8)
    with torch.inference_mode():
        assert backbone(images)[0].shape[1:] == shape


def test_a_layer_keeps_its_fingerprint_when_others_join_it():
    alone = make()
    several = TorchvisionBackbone(
        "resnet18", ["layer1", "layer2"], [2, 1], 64, "random", 0, "eager", tf32=False
    )
    assert several.fingerprint("layer1") == alone.fingerprint("layer1")
    assert several.fingerprint("layer2") != alone.fingerprint("layer1")
    with pytest.raises(ConfigError, match="one for each"):
        TorchvisionBackbone("resnet18", ["layer1"], [2, 1], 64, "random", 0, "eager", tf32=False)
