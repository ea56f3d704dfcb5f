import json
import math
from itertools import product

import numpy as np
import pytest
import torch

from fre_lightning.backbones.morlet import centred_spectra
from fre_lightning.backbones.scattering import Scattering
from fre_lightning.errors import ConfigError

SIZE, J, L = 32, 2, 4


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On images this small threads only wait for each other."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def build(image_size=SIZE, n_scales=J, n_orientations=L, colour=True, layers="order2", floor=0.0):
    return Scattering(
        "scattering", layers, image_size, n_scales, n_orientations, colour, floor, 1, "none"
    )


def draw(n, height=SIZE, width=SIZE, seed=0):
    """Colour images with noise, stripes and an edge."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (n, 3, height, width))
    images += (50 + 50 * np.sin(np.arange(width) / 1.7)).astype(np.int64)
    images[:, 1, height // 3 :] += 35
    return torch.from_numpy(images.astype(np.uint8))


# --- What the transform is, once more: wavelets made in space, float64, every convolution at the
# full resolution, nothing folded or cut.


def morlet(j, k, n_orientations, padded):
    """A wavelet made on three periods of the padded grid a side, then summed into one."""
    sigma, xi, slant = 0.8 * 2**j, 3 * math.pi / 4 / 2**j, 4 / n_orientations
    angle = ((n_orientations - 1) // 2 - k) * math.pi / n_orientations
    offsets = np.arange(3 * padded) - padded
    y, x = offsets[:, None], offsets[None, :]
    along = y * math.cos(angle) + x * math.sin(angle)
    across = x * math.cos(angle) - y * math.sin(angle)
    envelope = np.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2))
    envelope /= 2 * math.pi * sigma**2 / slant
    wave, envelope = (
        values.reshape(3, padded, 3, padded).sum(axis=(0, 2))
        for values in (envelope * np.exp(1j * xi * along), envelope)
    )
    return wave - wave.sum() / envelope.sum() * envelope


def average(samples, size, padded, n_scales):
    """Gaussian averages of evenly spaced samples around the centres of the cells."""
    cell, margin = 2**n_scales, (padded - size) // 2
    centres = margin + cell * np.arange(size // cell) + (cell - 1) / 2
    positions = np.arange(0, padded, padded // len(samples))
    weights = np.exp(-(((positions - centres[:, None]) / (0.4 * cell)) ** 2) / 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ samples @ weights.T


def interpolated(samples, padded):
    """The band-limited plane of the full resolution that passes through evenly spaced samples."""
    n = len(samples)
    spectrum = np.zeros((padded, padded), complex)
    frequencies = np.rint(np.fft.fftfreq(n) * n).astype(int)
    spectrum[np.ix_(frequencies, frequencies)] = np.fft.fft2(samples) * (padded / n) ** 2
    return np.fft.ifft2(spectrum)


def scatter(plane, wavelets, n_scales, order):
    size = len(plane)
    plane = np.pad(plane, 2**n_scales, mode="reflect")

    def sampled_modulus(plane, j, k):
        modulus = np.abs(np.fft.ifft2(np.fft.fft2(plane) * wavelets[j, k]))
        return modulus[:: 2**j, :: 2**j]

    moduli = {scale: sampled_modulus(plane, *scale) for scale in wavelets}
    averaged = [plane, *moduli.values()]
    if order == 2:
        # By scale 1, scale 2, orientation 1, orientation 2.
        pairs = [pair for pair in product(wavelets, wavelets) if pair[0][0] < pair[1][0]]
        for first, second in sorted(pairs, key=lambda pair: np.transpose(pair).tolist()):
            modulus = interpolated(moduli[first], len(plane))
            averaged.append(sampled_modulus(modulus, *second))
    return [average(samples, size, len(plane), n_scales) for samples in averaged]


def reference(image, n_scales, n_orientations):
    padded = image.shape[-1] + 2 * 2**n_scales
    wavelets = {
        (j, k): np.fft.fft2(morlet(j, k, n_orientations, padded))
        for j, k in product(range(n_scales), range(n_orientations))
    }
    red, green, blue = image.double().numpy() / 255
    return np.stack(
        scatter(0.299 * red + 0.587 * green + 0.114 * blue, wavelets, n_scales, order=2)
        + scatter((red - green) / 2, wavelets, n_scales, order=1)
        + scatter((red + green) / 4 - blue / 2, wavelets, n_scales, order=1)
    )


def group_sizes(n_scales, n_orientations=L):
    """How many channels have the same order, scales and colour."""
    n_pairs = n_scales * (n_scales - 1) // 2
    colour = [1, *[n_orientations] * n_scales]
    return colour + [n_orientations**2] * n_pairs + colour + colour


def assert_close_by_group(computed, expected, sizes, tolerance):
    """Compare `(N, C, h, w)` channels, relative to the greatest of each group."""
    assert computed.shape == expected.shape
    for ours, truth in zip(computed.split(sizes, 1), expected.split(sizes, 1), strict=True):
        greatest = float(truth.abs().max())
        torch.testing.assert_close(ours, truth, rtol=0, atol=tolerance * greatest)


@pytest.mark.parametrize(("size", "n_scales", "n_orientations"), [(32, 2, 4), (64, 3, 6)])
def test_channels_are_those_of_an_independent_computation(size, n_scales, n_orientations):
    images = draw(1, size, size)
    computed = build(size, n_scales, n_orientations)(images)[0].double()
    expected = torch.from_numpy(reference(images[0], n_scales, n_orientations))[None]
    assert_close_by_group(computed, expected, group_sizes(n_scales, n_orientations), 1e-4)


def kymatio_low_pass(size, padded, j, n_scales):
    """Kymatio's averages lie at the corners of cells; its Gaussian is cut in frequency."""
    n, cell = padded >> j, 2**n_scales
    offsets = np.arange(padded)[:, None] + padded * np.arange(-2, 3)
    spectrum = np.fft.fft(np.exp(-((offsets / (0.4 * cell)) ** 2) / 2).sum(axis=1)).real
    spectrum = spectrum[np.rint(np.fft.fftfreq(n) * n).astype(int)] / spectrum[0]
    weights = np.fft.ifft(spectrum).real
    corners = (padded - size) // 2 + cell * np.arange(size // cell)[:, None]
    return torch.from_numpy(weights[(np.arange(n) - corners // 2**j) % n]).float()


def test_luminance_channels_are_those_of_kymatio():
    kymatio = pytest.importorskip("kymatio.scattering2d.frontend.torch_frontend")
    size, padded, n_scales, n_orientations = 32, 48, 3, 6
    grey = draw(2, size, size)[:, :1]
    backbone = build(size, n_scales, n_orientations)
    own = backbone.transforms["order2"]
    for axis, j in product(range(2), range(n_scales)):
        weights = kymatio_low_pass(size, padded, j, n_scales)
        assert weights.shape == own.get_buffer(f"low_pass_{axis}_{j}").shape
        setattr(own, f"low_pass_{axis}_{j}", weights)
    transform = kymatio.ScatteringTorch2D(J=n_scales, shape=(size, size), L=n_orientations)
    theirs = transform(grey[:, 0] / 255)
    # Second order: scale 1, angle 1, scale 2, angle 2 there; scale 1, scale 2, both angles here.
    n_coarser = range(n_scales - 1, 0, -1)
    first, *second = theirs.split(
        [1 + n_scales * n_orientations, *(n * n_orientations**2 for n in n_coarser)], dim=1
    )
    second = [
        block.unflatten(1, (n_orientations, n, n_orientations)).transpose(1, 2).flatten(1, 3)
        for n, block in zip(n_coarser, second, strict=True)
    ]
    expected = torch.cat([first, *second], dim=1)
    computed = backbone(grey.expand(-1, 3, -1, -1))[0][:, : expected.shape[1]]
    sizes = group_sizes(n_scales, n_orientations)[: -2 * (1 + n_scales)]
    assert_close_by_group(computed, expected, sizes, 2e-4)


@pytest.mark.parametrize("shape", [(2, 2), (3, 4, 6), (2, 3, 12, 8)])
def test_centred_spectra_are_those_of_a_full_transform(shape):
    planes = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = np.fft.fftshift(np.fft.fft2(planes.double().numpy()), axes=(-2, -1))
    expected = torch.from_numpy(expected.astype(np.complex64))
    torch.testing.assert_close(centred_spectra(planes), expected, rtol=0, atol=1e-5)


# --- What it promises.


@pytest.fixture(scope="module")
def backbone():
    return build()


def test_a_batch_is_its_images_one_by_one(backbone):
    images = draw(5)
    images[1] = images[1, :1]  # grey among coloured ones
    one_by_one = torch.cat([backbone(image[None])[0] for image in images])
    torch.testing.assert_close(backbone(images)[0], one_by_one, rtol=1e-6, atol=1e-6)


def test_a_batch_larger_than_a_block_is_its_images_one_by_one(monkeypatch):
    images, backbone = draw(5), build(n_scales=3)
    expected = backbone(images)[0]
    # Neither images nor orientations divide evenly into the blocks.
    monkeypatch.setattr(
        "fre_lightning.backbones.scattering_transform._CPU_BLOCK", 3 * L * 48 * 48 // 4
    )
    torch.testing.assert_close(backbone(images)[0], expected, rtol=1e-6, atol=1e-6)


def test_the_layer_of_halved_images_is_that_of_images_of_half_the_size():
    small = draw(2, 16, 24)
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    both = build([32, 48], colour="averages", layers=["order2", "order2_half"])
    whole, half = both(large)
    (expected,) = build([16, 24], colour="averages")(small)
    torch.testing.assert_close(half, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(whole, build([32, 48], colour="averages")(large)[0])
    assert torch.equal(both(large, ["order2_half"])[0], half)
    assert both.fingerprint("order2") == build([32, 48], colour="averages").fingerprint("order2")


def test_only_colour_fills_the_colour_channels(backbone):
    images = draw(1)[:, :1].expand(-1, 3, -1, -1).clone()
    n_colour = 2 * (1 + J * L)
    grey = backbone(images)[0]
    assert not grey[:, -n_colour:].any()
    images[0, 0, 16, 16] ^= 128
    coloured = backbone(images)[0]
    red_green, yellow_blue = coloured[:, -n_colour:].chunk(2, dim=1)
    assert red_green.abs().amax(dim=(0, 2, 3)).min() > 1e-4
    assert yellow_blue.abs().amax(dim=(0, 2, 3)).min() > 1e-4


def test_without_colour_there_are_the_channels_of_the_luminance(backbone):
    images = draw(2)
    luminance = build(colour=False)(images)[0]
    assert torch.equal(luminance, backbone(images)[0][:, : luminance.shape[1]])
    assert luminance.shape[1] == 1 + J * L + L**2


def test_averages_of_colour_are_those_of_all_its_channels(backbone):
    images, n_colour = draw(2), 1 + J * L
    everything = backbone(images)[0]
    luminance, red_green, yellow_blue = everything.split([1 + J * L + L**2, n_colour, n_colour], 1)
    expected = torch.cat([luminance, red_green[:, :1], yellow_blue[:, :1]], dim=1)
    assert torch.equal(build(colour="averages")(images)[0], expected)


def test_a_floor_raises_the_wavelets_of_the_colour(backbone):
    images = draw(2)
    images[1] = images[1, :1]  # grey
    raised, plain = build(floor=0.125)(images)[0], backbone(images)[0]
    expected = plain.clone()
    n_luminance, n_colour = 1 + J * L + L**2, 1 + J * L
    for first in (n_luminance, n_luminance + n_colour):
        expected[:, first + 1 : first + n_colour] += 0.125
    assert torch.equal(raised, expected)


def test_coarse_colour_is_that_of_the_two_coarsest_scales():
    images = draw(2)
    everything = build(n_scales=3)(images)[0]
    n_colour = 1 + 3 * L
    luminance, *colour = everything.tensor_split([-2 * n_colour, -n_colour], dim=1)
    expected = [luminance, *(torch.cat([c[:, :1], c[:, 1 + L :]], dim=1) for c in colour)]
    torch.testing.assert_close(
        build(n_scales=3, colour="coarse")(images)[0], torch.cat(expected, dim=1)
    )


def test_only_the_colour_averages_are_signed(backbone):
    maps = backbone(draw(3))[0][0]
    averages = torch.zeros(len(maps), dtype=torch.bool)
    averages[[-2 * (1 + J * L), -(1 + J * L)]] = True
    assert maps[~averages].min() >= 0
    assert maps[averages].min() < 0


@pytest.mark.parametrize(
    ("image_size", "n_scales", "cells"),
    [
        ((40, 56), 2, (10, 14)),
        (33, 2, (8, 8)),
        ((40, 57), 3, (5, 7)),
        (4, 2, (1, 1)),
        (31, 1, (15, 15)),
    ],
)
def test_cells_tile_images_of_any_size(image_size, n_scales, cells):
    backbone = build(image_size, n_scales)
    (maps,) = backbone(draw(2, *backbone.image_size))
    assert maps.shape == (2, sum(group_sizes(n_scales)), *cells)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()


def test_turning_an_oblong_image_turns_its_average():
    images = draw(1, 40, 56)
    upright, turned = build([40, 56])(images)[0], build([56, 40])(images.transpose(2, 3))[0]
    torch.testing.assert_close(upright[:, 0], turned[:, 0].transpose(1, 2))


@pytest.mark.parametrize("level", [0, 200])
def test_a_constant_image_has_nothing_but_its_average(backbone, level):
    (maps,) = backbone(torch.full((1, 3, SIZE, SIZE), level, dtype=torch.uint8))
    torch.testing.assert_close(maps[:, 0], torch.full_like(maps[:, 0], level / 255))
    assert maps[:, 1:].abs().max() < 1e-6


def test_no_filter_has_numbers_whose_products_are_subnormal(backbone):
    # Processors that slow down a hundredfold on them made this backbone five times slower.
    tails = [buffer.abs() for buffer in backbone.buffers() if buffer.is_floating_point()]
    assert len(tails) > 4
    for values in tails:
        assert values[values > 0].min() > 1e-16 * values.max()


def test_fingerprint_tells_transforms_apart():
    variants = [
        build(),
        build(image_size=33),
        build(image_size=[SIZE, 33]),
        build(n_scales=3),
        build(n_orientations=6),
        build(colour=False),
        build(colour="averages"),
        build(colour="coarse"),
        build(floor=0.001),
        Scattering("other", "order2", SIZE, J, L, True, 0.0, 1, "none"),
    ]
    fingerprints = [json.dumps(variant.fingerprint("order2")) for variant in variants]
    assert len(set(fingerprints)) == len(variants)
    assert json.dumps(build().fingerprint("order2")) == fingerprints[0]
    # What comes after the features is no part of them.
    assert Scattering("scattering", "order2", SIZE, J, L, True, 0.0, 1, "cbrt").fingerprint(
        "order2"
    ) == build().fingerprint("order2")


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_scales": 0},
        {"colour": "all"},
        {"layers": "order3"},
        {"layers": ["order2", "order2_half"], "n_scales": 5},  # of 32 pixels, halved
        {"n_scales": -1},
        {"n_orientations": 0},
        {"n_scales": 6},
        {"image_size": [3, 40]},
        {"image_size": 0},
        {"image_size": [32, 32, 3]},
    ],
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(ConfigError):
        build(**parameters)


def test_nothing_is_loaded_or_stored(backbone):
    backbone.load_weights()
    assert backbone.weights_label == "none (scattering)"
    assert not list(backbone.parameters())
    assert all(key.startswith("standardizer.") for key in backbone.state_dict())
