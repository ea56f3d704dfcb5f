import numpy as np
import pytest
import torch
from PIL import Image
from torch.export import Dim

from fre_lightning.export import lanczos
from fre_lightning.export.lanczos import LanczosResize, pillow_reverses
from fre_lightning.images.resizing import resize

SIZES = [
    ((40, 64), (24, 32)),  # wide: by torch, where it can
    ((200, 64), (24, 32)),  # tall: by Pillow, columns first
    ((100, 90), (30, 30)),  # hardly tall: by Pillow, rows first
    ((20, 12), (24, 32)),  # grows
    ((24, 32), (24, 32)),
]


def draw(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("is_fixed", [True, False])
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_levels_are_exactly_those_of_the_loader(source, target, is_fixed):
    pixels = draw(*source)
    actual = LanczosResize(target, source if is_fixed else None)(torch.from_numpy(pixels)[None])
    expected = resize(pixels, target)
    assert actual.dtype == torch.uint8
    assert torch.equal(actual[0], expected)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_levels_are_exactly_pillows_where_torch_does_not_load(source, target, monkeypatch):
    monkeypatch.setattr(lanczos, "PREPROCESSING", "pillow-lanczos-rgb8-v3")
    pixels = draw(*source)
    size = (target[1], target[0])
    expected = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    for input_size in (source, None):
        actual = LanczosResize(target, input_size)(torch.from_numpy(pixels)[None])[0]
        assert np.array_equal(actual.permute(1, 2, 0).numpy(), expected)


@pytest.mark.slow
def test_levels_are_exact_without_float64():
    """OpenVINO computes in float32 on CPUs, here the weights of images of any size, too."""
    ov = pytest.importorskip("openvino")
    sizes = {0: Dim("n"), 1: Dim("height", min=2), 2: Dim("width", min=2)}
    example = torch.zeros(2, 40, 41, 3, dtype=torch.uint8)
    program = torch.export.export(
        LanczosResize((24, 32), None), (example,), dynamic_shapes=(sizes,)
    )
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    run = ov.Core().compile_model(ov.convert_model(program.run_decompositions()), "CPU", exact)
    for source in [*(source for source, _ in SIZES), (323, 195), (290, 211), (1200, 1600)]:
        pixels = draw(*source)
        (levels,) = run([pixels[None]]).values()
        np.testing.assert_array_equal(levels[0], resize(pixels, (24, 32)))


def test_weights_are_those_of_float64():
    for n_in, n_out in ((5, 64), (300, 64), (1001, 256), (4096, 24)):
        centres = (np.arange(n_out) + 0.5) * n_in / n_out
        x = (np.arange(n_in) + 0.5 - centres[:, None]) / max(n_in / n_out, 1)
        weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
        high, rest = (part.double().numpy() for part in lanczos._lanczos_weights(n_in, n_out))
        np.testing.assert_allclose(high + rest, weights, rtol=0, atol=2e-10)
        np.testing.assert_array_equal(2048 * high, np.rint(2048 * high))


def test_order_of_passes_is_known_for_this_pillow():
    pixels = draw(200, 64)
    size = (32, 24)
    rows_first = Image.fromarray(pixels).resize((32, 200), Image.Resampling.LANCZOS)
    rows_first = np.asarray(rows_first.resize(size, Image.Resampling.LANCZOS))
    resized = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    assert np.array_equal(rows_first, resized) != pillow_reverses()
