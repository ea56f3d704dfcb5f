import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from fre_lightning.images.png import decode_png

RNG = np.random.default_rng(0)


def _open(path):
    with Image.open(path) as opened:
        return decode_png(opened, path)


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
    decoded = _open(tmp_path / "a.png")
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, levels)


@pytest.mark.parametrize("filter_type", range(5))
def test_each_filter_as_pillow(tmp_path, filter_type):
    rows = RNG.integers(0, 256, (20, 1 + 3 * 31), dtype=np.uint8)
    rows[:, 0] = filter_type
    (tmp_path / "a.png").write_bytes(_file_of(31, 20, 8, 2, rows.tobytes()))
    expected = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(_open(tmp_path / "a.png"), expected)


def test_a_gamma_chunk_changes_nothing(tmp_path):
    levels = RNG.integers(0, 256, (5, 4), dtype=np.uint8)
    rows = np.pad(levels, ((0, 0), (1, 0))).tobytes()
    gamma = (b"gAMA", struct.pack(">I", 100000))
    (tmp_path / "a.png").write_bytes(_file_of(4, 5, 8, 0, rows, gamma))
    np.testing.assert_array_equal(_open(tmp_path / "a.png"), levels)


def test_two_bit_grey_is_spread_as_by_pillow(tmp_path):
    (tmp_path / "a.png").write_bytes(_file_of(4, 1, 2, 0, b"\x00\x1b"))
    decoded = _open(tmp_path / "a.png")
    expected = np.asarray(Image.open(tmp_path / "a.png"))
    assert expected.tolist() == [[0, 85, 170, 255]]
    np.testing.assert_array_equal(decoded, expected)


def test_other_kinds_are_left_to_pillow(tmp_path):
    levels = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(levels)
    others = {
        "16bit": Image.fromarray(levels[..., 0].astype(np.uint16) * 257),
        "alpha": picture.convert("RGBA"),
        "palette": picture.convert("P"),
        "bits": picture.convert("1"),
    }
    for name, image in others.items():
        image.save(tmp_path / f"{name}.png")
        assert _open(tmp_path / f"{name}.png") is None, name
    picture.save(tmp_path / "transparent.png", transparency=tuple(levels[0, 0].tolist()))
    assert _open(tmp_path / "transparent.png") is None
    picture.save(tmp_path / "a.bmp")
    assert _open(tmp_path / "a.bmp") is None


def test_damaged_files_are_left_to_pillow(tmp_path):
    content = BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64), dtype=np.uint8)).save(content, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(content.getvalue()[:-200])
    assert _open(path) is None
    damaged = bytearray(content.getvalue())
    damaged[len(damaged) // 2] ^= 255
    path.write_bytes(bytes(damaged))
    assert _open(path) is None
