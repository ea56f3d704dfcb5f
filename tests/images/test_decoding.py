"""Image files to values, against what was written into them."""

import struct
import zlib
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from fre_lightning.images.decoding import DECODING_ERRORS, decode, decode_file, opaque
from fre_lightning.images.header import read_header

RNG = np.random.default_rng(0)


def _chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _file_of(width, height, depth, color, rows, *more):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize("shape", [(37, 53), (37, 53, 3), (1, 1), (1, 1, 3)])
def test_the_levels_that_were_written(tmp_path, shape):
    levels = RNG.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    decoded = decode_file(tmp_path / "a.png")
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, levels)


@pytest.mark.parametrize("filter_type", range(5))
def test_each_filter_as_pillow(tmp_path, filter_type):
    rows = RNG.integers(0, 256, (20, 1 + 3 * 31), dtype=np.uint8)
    rows[:, 0] = filter_type
    (tmp_path / "a.png").write_bytes(_file_of(31, 20, 8, 2, rows.tobytes()))
    expected = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(decode_file(tmp_path / "a.png"), expected)


def test_a_gamma_chunk_changes_nothing(tmp_path):
    levels = RNG.integers(0, 256, (5, 4), dtype=np.uint8)
    rows = np.pad(levels, ((0, 0), (1, 0))).tobytes()
    gamma = (b"gAMA", struct.pack(">I", 100000))
    (tmp_path / "a.png").write_bytes(_file_of(4, 5, 8, 0, rows, gamma))
    np.testing.assert_array_equal(decode_file(tmp_path / "a.png"), levels)


def test_two_bit_grey_is_spread_as_by_pillow(tmp_path):
    (tmp_path / "a.png").write_bytes(_file_of(4, 1, 2, 0, b"\x00\x1b"))
    decoded = decode_file(tmp_path / "a.png")
    expected = np.asarray(Image.open(tmp_path / "a.png"))
    assert expected.tolist() == [[0, 85, 170, 255]]
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "LA", "L"])
@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "jpg"])
def test_8_bits_are_pillows(tmp_path, mode, suffix):
    image = Image.fromarray(RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)).convert(mode)
    path = tmp_path / f"a.{suffix}"
    try:
        image.save(path)
    except OSError:
        pytest.skip("the format has no such images")
    with Image.open(path) as opened:
        expected = np.asarray(opaque(opened))
    values = decode_file(path)
    assert values.dtype == np.uint8
    np.testing.assert_array_equal(values, expected)


def test_damaged_files_are_refused(tmp_path):
    content = BytesIO()
    Image.fromarray(RNG.integers(0, 256, (128, 128), dtype=np.uint8)).save(content, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(content.getvalue()[:-200])
    with pytest.raises(DECODING_ERRORS):
        decode_file(path)
    damaged = bytearray(content.getvalue())
    damaged[len(damaged) // 2] ^= 255
    path.write_bytes(bytes(damaged))
    with pytest.raises(DECODING_ERRORS):
        decode_file(path)


DEEP = {
    "grey16.png": (np.uint16, (9, 7)),
    "rgb16.png": (np.uint16, (9, 7, 3)),
    "grey16.tif": (np.uint16, (9, 7)),
    "rgb16.tif": (np.uint16, (9, 7, 3)),
    "signed.tif": (np.int16, (9, 7)),
    "float32.tif": (np.float32, (9, 7)),
    "float64.tif": (np.float64, (9, 7)),
    "float16.tif": (np.float16, (9, 7)),
    "grey8.npy": (np.uint8, (9, 7)),
    "grey16.npy": (np.uint16, (9, 7, 1)),
    "rgb16.npy": (np.uint16, (9, 7, 3)),
    "float.npy": (np.float32, (9, 7, 3)),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_files_keep_their_levels(tmp_path, name):
    dtype, shape = DEEP[name]
    expected = (4095 * RNG.random(shape)).astype(dtype)
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, expected)
    else:
        encode = imagecodecs.png_encode if path.suffix == ".png" else imagecodecs.tiff_encode
        path.write_bytes(encode(expected))
    values = decode_file(path)
    np.testing.assert_array_equal(values, expected[..., 0] if shape[2:] == (1,) else expected)
    header = read_header(path)
    assert header.size == (9, 7)
    assert header.is_deep == (dtype != np.uint8)


def test_an_opened_image_is_decoded_in_depth_and_left_as_it_was(tmp_path):
    expected = RNG.integers(0, 2**16, (9, 7, 3), dtype=np.uint16)
    stream = BytesIO(imagecodecs.png_encode(expected))
    with Image.open(stream) as opened:
        np.testing.assert_array_equal(decode(opened), expected)
        np.testing.assert_array_equal(np.asarray(opened), expected >> 8)


@pytest.mark.parametrize("n_channels", [2, 4])
def test_deep_colours_under_alpha_0_are_white(tmp_path, n_channels):
    values = RNG.integers(0, 2**16, (4, 5, n_channels), dtype=np.uint16)
    values[..., -1] = 65535
    values[:2, :, -1] = 0
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(values))
    expected = values[..., :-1].copy()
    expected[:2] = 65535
    np.testing.assert_array_equal(decode_file(path), expected.squeeze())


@pytest.mark.parametrize(
    "array", [np.zeros(5), np.zeros((2, 2, 7)), np.zeros((0, 3)), np.array([["a"]])]
)
def test_arrays_that_are_no_images_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match="no image"):
        decode_file(tmp_path / "a.npy")


def test_arrays_that_would_run_code_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        decode_file(tmp_path / "a.npy")
