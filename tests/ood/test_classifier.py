import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from fre_lightning.errors import BackboneError, ConfigError
from fre_lightning.ood.networks import SmallClassifier, TimmClassifier, TorchvisionClassifier


def make(name="resnet18", layers="penultimate", size=64, weights="random", n_classes=5, pool=None):
    return TorchvisionClassifier(name, layers, pool, size, weights, 0, n_classes)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("name", "layer", "module", "linear"),
    [
        ("resnet18", "layer2", "avgpool", True),
        ("squeezenet1_0", "features.7", "features", False),
        ("mobilenet_v3_small", "features.3", "classifier.2", True),
    ],
)
def test_vectors_and_logits_are_those_of_the_whole_network(
    name, layer, module, linear, images, tmp_path
):
    torch.manual_seed(5)
    network = get_model(name, weights=None, num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    seen = {}
    for key in (layer, module):
        network.get_submodule(key).register_forward_hook(
            lambda _module, _inputs, output, key=key: seen.update({key: output})
        )
    for suffix in ("pth", "safetensors"):
        classifier = make(name, [layer, "penultimate"], weights=str(tmp_path / f"mine.{suffix}"))
        classifier.load_weights()
        assert classifier.n_classes == 7  # the file's, not the data's
        with torch.inference_mode():
            shallow, deep, logits = classifier.features(images)
            pixels = (images - classifier.pixel_mean) / classifier.pixel_std
            torch.testing.assert_close(logits, network(pixels), rtol=1e-4, atol=1e-4)
        average = seen[layer].mean(dim=(2, 3))
        torch.testing.assert_close(shallow, average, rtol=1e-4, atol=1e-5)
        expected = seen[module].flatten(2).mean(2) if seen[module].ndim == 4 else seen[module]
        torch.testing.assert_close(deep, expected, rtol=1e-4, atol=1e-5)
        assert (classifier.head is not None) == linear
        if classifier.head is not None:
            weight, bias = classifier.head
            torch.testing.assert_close(deep @ weight.T + bias, logits, rtol=1e-4, atol=1e-4)


def test_the_small_one_takes_images_of_any_size():
    classifier = SmallClassifier("penultimate", None, 12, "train", 4, 0, 3)
    images = torch.zeros(2, 3, 12, 12, dtype=torch.uint8)
    features, logits = classifier.features(images)
    assert (features.shape, logits.shape) == ((2, 16), (2, 3))
    assert classifier.head is not None
    assert classifier.weights_label == "trained here (seed 0)"


@pytest.mark.parametrize("pool", [2, [2, None, 1]])
def test_maps_are_averaged_over_windows_and_flattened(images, pool):
    layers = ["layer2", "layer3", "penultimate"]
    classifier, plain = make(layers=layers, pool=pool), make(layers=layers)
    with torch.inference_mode():
        maps = classifier.outputs(images, ("layer2", "layer3"))  # 8 x 8 and 4 x 4
        found, expected = classifier.features(images), plain.features(images)
        only = classifier.features(images, ["layer2"])
    windows = maps[0].reshape(3, 128, 4, 2, 4, 2).mean(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(found[0], windows, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(only[0], found[0], rtol=1e-4, atol=1e-5)
    assert found[1].shape == (3, 256 * 4 if pool == 2 else 256)
    for one, other in zip(found[2:], expected[2:], strict=True):  # vectors stay as they are
        torch.testing.assert_close(one, other)


def test_the_cache_knows_windows():
    layers = ["layer2", "layer3"]
    pools = (None, 1, 2, [2, None])
    keys = [make(layers=layers, pool=pool).fingerprint("layer2") for pool in pools]
    assert keys[2] == keys[3]
    assert keys[0] != keys[1] != keys[2] != keys[0]
    assert "window" not in keys[0]  # the entries of earlier versions stay valid


def test_accelerated_it_gives_the_same(images):
    classifier = make(layers=["layer1", "penultimate"])
    with torch.inference_mode():
        plain = classifier.features(images)
        classifier.accelerate(1, "32-true")
        for one, other in zip(plain, classifier.features(images), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_100"])
def test_networks_of_timm(name, images):
    classifier = TimmClassifier(name, "penultimate", None, 64, "random", 0, 5)
    with torch.inference_mode():
        features, logits = classifier.features(images)
        torch.manual_seed(0)
        size = {"img_size": 64} if name.startswith("vit") else {}
        network = timm.create_model(name, num_classes=5, **size).eval()
        network.load_state_dict(classifier.network.state_dict(), strict=False)
        pixels = (images - classifier.pixel_mean) / classifier.pixel_std
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    weight, bias = classifier.head
    torch.testing.assert_close(features @ weight.T + bias, logits, rtol=1e-4, atol=1e-4)


def test_tokens_are_averaged(images):
    classifier = make("vit_b_32", "encoder.layers.encoder_layer_0", 224)
    assert [v.shape for v in classifier.features(images.repeat(1, 1, 4, 4)[..., :224, :224])] == [
        (3, 768),
        (3, 5),
    ]


def test_mistakes(tmp_path):
    with pytest.raises(BackboneError, match="does not take images of 16x16"):
        make("alexnet", size=16)
    with pytest.raises(BackboneError, match=r"is no classifier|no head"):
        make("lraspp_mobilenet_v3_large")
    for pool in (0, [2, 2], [], [None, 1]):
        with pytest.raises(ConfigError, match=r"classifier\.pool=.* must be null or a positive"):
            make(pool=pool)
    with pytest.raises(ConfigError, match="penultimate of resnet18 is no map"):
        make(pool=2)
    with pytest.raises(ConfigError, match=r"pool=5 is too large for the maps of layer3.*4x4"):
        make(layers="layer3", pool=5)
    with pytest.raises(BackboneError, match="Did you mean layer3"):
        make(layers="layr3")
    with pytest.raises(BackboneError, match=r"Correct classifier\.weights"):
        make(weights=str(tmp_path / "none.pth"))
    with pytest.raises(BackboneError, match="timm has no network called resnet19"):
        TimmClassifier("resnet19", "penultimate", None, 64, "random", 0, 5)
    other = get_model("squeezenet1_0", weights=None).state_dict()
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(BackboneError, match=r"classifier\.weights=.* does not fit resnet18"):
        make(weights=str(tmp_path / "other.pth")).load_weights()
    headless = get_model("resnet18", weights=None).state_dict()
    headless = {key: value for key, value in headless.items() if not key.startswith("fc")}
    torch.save(headless, tmp_path / "headless.pth")
    with pytest.raises(BackboneError, match=r"fc\.weight the first"):
        make(weights=str(tmp_path / "headless.pth")).load_weights()
