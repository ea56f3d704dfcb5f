"""What every backbone must do, whatever its kind: each file of `configs/model` is tested."""

import copy
import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from omegaconf import OmegaConf

from fre_lightning.config import build
from tests.configs import compose_config, names

SIZE = 64
SLOW = {"efficientnet_b5", "efficientnet_lite2", "resnet50", "vgg16", "wide_resnet50_2"}
CHOICES = {  # of files that leave something to be chosen
    "timm": {"name": "test_vit", "layers": [1, 3]},
    "torchvision": {"name": "mobilenet_v3_small", "layers": ["features.2", "features.4"]},
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in names("model")
    ],
)
def settings(request):
    """The file's settings, for small images and with random weights."""
    values = OmegaConf.to_container(compose_config(f"model={request.param}").model, resolve=True)
    values |= CHOICES.get(request.param, {})
    if "???" in values.values():
        pytest.fail(f"Add what configs/model/{request.param}.yaml leaves open to CHOICES here.")
    for part in parts_of(values):
        part["image_size"] = SIZE
        part.update({"weights": "random", "seed": 0} if "weights" in part else {})
    return values


def parts_of(settings):
    """Of each backbone that is not made of others."""
    return [*settings["backbones"].values()] if "backbones" in settings else [settings]


@pytest.fixture(scope="module")
def backbone(settings):
    return make(settings)


def make(settings):
    built = build(OmegaConf.create(settings))
    built.load_weights()
    return built


def draw(n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)


def compute(backbone, images):
    with torch.inference_mode():
        return backbone.features(images)


def assert_equal(actual, expected, tolerance=0.0):
    for got, wanted in zip(actual, expected, strict=True):
        assert got.shape == wanted.shape
        assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()


def test_it_is_frozen(settings):
    backbone, images = make(settings), draw()
    assert not any(p.requires_grad for p in backbone.parameters())
    before = copy.deepcopy(backbone.state_dict())
    as_made = compute(backbone, images)
    assert_equal(compute(backbone.eval(), images), as_made)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert torch.equal(images, draw())


def test_a_layer_is_a_map_that_is_then_pooled(backbone):
    images = draw()
    with torch.inference_mode():
        maps, features = backbone(images), backbone.features(images)
    assert len(maps) == len(features) == len(backbone.layers) == len(backbone.pools) > 0
    assert backbone.image_size == (SIZE, SIZE)
    for a_map, feature, pool in zip(maps, features, backbone.pools, strict=True):
        n, n_channels, height, width = a_map.shape
        assert (n, a_map.is_floating_point()) == (3, True)
        assert feature.shape == (n, n_channels, height // pool, width // pool)
        assert feature.isfinite().all()
        assert feature.std(dim=0).max() > 0  # images differ


def test_sides_of_whole_cells_are_cut_into_whole_cells(settings, backbone):
    cell = backbone.find_cell()
    oblong = copy.deepcopy(settings)
    for part in parts_of(oblong):
        part["image_size"] = [2 * cell, 3 * cell]
    images = torch.zeros(1, 3, 2 * cell, 3 * cell, dtype=torch.uint8)
    for layer in compute(build(OmegaConf.create(oblong)), images):
        rows, columns = layer.shape[2:]
        assert (rows % 2, columns % 3) == (0, 0)
        assert rows * 3 == columns * 2


def test_some_layers_are_those_of_all(backbone):
    images = draw()
    features = dict(zip(backbone.layers, compute(backbone, images), strict=True))
    chosen = backbone.layers[::-1]
    with torch.inference_mode():
        assert_equal(backbone.features(images, chosen), [features[layer] for layer in chosen])
        for layer in chosen:
            assert_equal(backbone.features(images, [layer]), [features[layer]])


def test_the_same_settings_and_images_give_the_same_bits(settings, backbone):
    features = compute(backbone, draw())
    assert_equal(compute(backbone, draw()), features)
    assert_equal(compute(make(settings), draw()), features)


def test_an_image_alone_is_as_in_a_batch(backbone):
    images = draw()
    features = compute(backbone, images)
    for i in range(len(images)):
        alone = compute(backbone, images[i : i + 1])
        assert_equal(alone, [feature[i : i + 1] for feature in features], 1e-4)


def test_threads_may_share_it(backbone):
    batches = [draw(1, seed) for seed in range(16)]
    expected = [compute(backbone, batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        shared = [*pool.map(lambda batch: compute(backbone, batch), batches)]
    for actual, wanted in zip(shared, expected, strict=True):
        assert_equal(actual, wanted, 1e-6)


def test_prepared_for_export_it_computes_the_same(settings, backbone):
    prepared = make(settings)
    prepared.prepare_export()
    assert_equal(compute(prepared, draw()), compute(backbone, draw()), 1e-4)


def test_a_checkpoint_brings_the_weights(settings, backbone):
    others = copy.deepcopy(settings)
    for part in parts_of(others):
        part.update({"seed": 1} if "seed" in part else {})
    other, stream = build(OmegaConf.create(others)), io.BytesIO()
    torch.save(backbone.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert_equal(compute(other, draw()), compute(backbone, draw()))


def test_a_fingerprint_tells_all_that_changes_features(settings, backbone):
    for part, values in zip(backbone.parts, parts_of(settings), strict=True):
        pool = values["pool"]
        changes = [{"pool": [p + 1 for p in pool] if isinstance(pool, list) else pool + 1}]
        changes += [{"image_size": 2 * SIZE}, *([{"seed": 1}] if "seed" in values else [])]
        others, same = [make(values | change) for change in changes], make(values)
        marks = fingerprints(part)
        assert fingerprints(same) == marks
        assert len(set(marks)) == len(part.layers)
        for value in same.state_dict().values():
            value.add_(1)  # the content counts, not where weights come from
        others += [same] if same.state_dict() else []
        for other in others:
            assert not set(fingerprints(other)) & set(marks)


def fingerprints(backbone):
    return [json.dumps(backbone.fingerprint(layer), sort_keys=True) for layer in backbone.layers]
