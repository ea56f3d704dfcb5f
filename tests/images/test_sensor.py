"""The range of levels that training files show."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from fre_lightning.errors import ConfigError
from fre_lightning.images import sensor
from fre_lightning.images.header import read_headers
from fre_lightning.images.intensity import Intensity

RNG = np.random.default_rng(0)


def look(setting, paths, folder):
    headers = read_headers(paths, 2)
    return sensor.find_intensity(setting, paths, headers, folder, 2, folder.parent / "cache")


@pytest.fixture
def find(tmp_path):
    """Write images, and find their range."""

    def find(setting, *images, suffix="png"):
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"{i}.{suffix}" for i in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            if suffix == "npy":
                np.save(path, image)
            elif image.ndim == 3 and image.dtype != np.uint8:
                path.write_bytes(imagecodecs.png_encode(image))
            else:
                Image.fromarray(image).save(path)
        return look(setting, paths, folder)

    return find


def draw(high, *shape, dtype=np.uint16):
    image = RNG.integers(0, high, shape or (20, 30)).astype(dtype)
    image.flat[7] = high
    return image


@pytest.mark.parametrize(
    ("high", "bits"),
    [
        (200, 8),
        (256, 10),
        (1023, 10),
        (1024, 12),
        (4000, 12),
        (16383, 14),
        (16384, 16),
        (65535, 16),
    ],
)
def test_the_sensor_is_recognised_by_the_highest_of_all_levels(find, high, bits, caplog):
    caplog.set_level("INFO")
    found = find("auto", draw(100), draw(high, 9, 9, 3), draw(50))
    assert found == Intensity(0, 2**bits - 1, deep_only=True)
    assert f"Levels of {bits} bits: the highest of 3 training images is {high}" in caplog.text


def test_files_of_8_bits_are_not_even_decoded(find, monkeypatch):
    monkeypatch.setattr(sensor, "decode_file", None)
    assert find("auto", draw(90, dtype=np.uint8)) is None


def test_8_bits_beside_deeper_files_are_told_of(find, caplog):
    assert find("auto", draw(90, dtype=np.uint8), draw(4000)).high == 4095
    assert "1 of the 2 training images have 8 bits" in caplog.text


@pytest.mark.parametrize(
    ("values", "expected"), [([0, 0.5, 1], 1), ([0, 2, 4095], 4095), ([0, 20, 60000], 65535)]
)
def test_floats_are_0_to_1_or_a_sensors(find, values, expected):
    image = np.array([values], np.float32)
    assert find("auto", image, suffix="tif") == Intensity(0, expected, deep_only=True)


@pytest.mark.parametrize("values", [[-40.0, 30.0], [0.0, 1e6]])
def test_other_floats_are_refused_with_the_setting_to_write(find, values):
    with pytest.raises(ConfigError, match=r"dataset\.intensity=\[") as error:
        find("auto", np.array([values], np.float32), suffix="tif")
    assert "percentile" in str(error.value)


def test_percentiles_are_those_of_all_pixels(find):
    images = [draw(high, 40, 50) for high in (300, 4000, 900)]
    found = find({"percentile": [1, 99]}, *images)
    expected = np.percentile(np.stack(images), [1, 99])
    np.testing.assert_allclose(found[:2], expected)
    assert not found.deep_only


def test_given_ends_are_taken_in_the_files_units(find):
    assert find([100, 3000], draw(4000)) == Intensity(100, 3000, deep_only=False)


@pytest.mark.parametrize(
    "setting", ["full", [5], [9, 3], ["a", "b"], {"percentile": [-1, 50]}, {"other": [0, 1]}, None]
)
def test_other_settings_are_refused(find, setting):
    with pytest.raises(ConfigError, match=r"dataset\.intensity="):
        find(setting, draw(4000))


def test_what_was_found_is_kept_until_a_file_changes(find, monkeypatch):
    assert find("auto", draw(4000), suffix="npy").high == 4095
    with monkeypatch.context() as patch:
        patch.setattr(sensor, "_recognise", None)
        patch.setattr(np, "save", lambda *_: None)
        assert find("auto", draw(4000), suffix="npy").high == 4095
    assert find("auto", draw(9000), suffix="npy").high == 16383


def test_unreadable_images_are_passed_over_unless_there_are_no_others(find, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "broken.npy").write_bytes(b"no array")
    np.save(folder / "a.npy", draw(4000))
    paths = [folder / "broken.npy", folder / "a.npy"]
    setting = {"percentile": [0, 100]}
    assert look(setting, paths, folder).high == 4000
    with pytest.raises(ConfigError, match="No training image"):
        look(setting, paths[:1], folder)
