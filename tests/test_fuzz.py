"""Five hundred damaged image files: each is a row of a table, and an answer of the server."""

import csv
import zlib
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

import fre_lightning
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.errors import CheckpointError
from fre_lightning.predict.inputs import find_inputs
from fre_lightning.predict.job import judge
from fre_lightning.serve.app import create_app
from fre_lightning.serve.limits import Limits

pytestmark = pytest.mark.slow

N_FILES = 500
PNG_HEADER = 16  # where the width stands


def encode(image, kind, **options):
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def draw_originals(rng):
    """Sound files of many kinds, by what they are."""
    grey = rng.integers(0, 256, (40, 56), np.uint8)
    image = Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8))
    frames = [image.rotate(90 * i) for i in range(1, 3)]
    return {
        "grey.png": encode(Image.fromarray(grey), "PNG"),
        "rgb.png": encode(image, "PNG"),
        "alpha.png": encode(image.convert("RGBA"), "PNG"),
        "sixteen.png": encode(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
        "palette.png": encode(image.quantize(16), "PNG", transparency=3),
        "bits.png": encode(image.convert("1"), "PNG"),
        "animated.png": encode(image, "PNG", save_all=True, append_images=frames),
        "rgb.jpg": encode(image, "JPEG"),
        "progressive.jpg": encode(image, "JPEG", progressive=True),
        "grey.jpg": encode(Image.fromarray(grey), "JPEG"),
        "cmyk.jpg": encode(image.convert("CMYK"), "JPEG"),
    }


def flip_bits(data, rng):
    changed = bytearray(data)
    for _ in range(rng.integers(1, 20)):
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    return bytes(changed)


def flip_bits_with_checksums(data, rng):
    """As `flip_bits`, in a PNG whose checksums are right, so that the decoder sees the damage."""
    chunks, position = [], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8]
        chunks.append((name, data[position + 8 : position + 8 + length]))
        position += 12 + length
    chosen = rng.integers(len(chunks))
    name, body = chunks[chosen]
    chunks[chosen] = name, flip_bits(body, rng) if body else b"\x00"
    return data[:8] + b"".join(
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
        for name, body in chunks
    )


def truncate(data, rng):
    return data[: rng.integers(len(data))]


def zero_a_stretch(data, rng):
    start = rng.integers(len(data))
    stop = min(len(data), start + rng.integers(1, 200))
    return data[:start] + bytes(stop - start) + data[stop:]


def double_a_stretch(data, rng):
    start, stop = sorted(rng.integers(len(data), size=2))
    return data[:stop] + data[start:stop] + data[stop:]


def lie_about_size(data, rng):
    """Another width and height in the header, up to 2^31, with the right checksum."""
    sides = [int(rng.choice([0, 1, 39, 57, 400, 12000, 65535, 2**31 - 1])) for _ in range(2)]
    if data.startswith(b"\x89PNG"):
        size = b"".join(side.to_bytes(4, "big") for side in sides)
        header = data[12:16] + size + data[PNG_HEADER + 8 : 29]
        return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    size = b"".join(min(side, 65535).to_bytes(2, "big") for side in sides)
    return data[: frame + 5] + size + data[frame + 9 :]


def keep(data, rng):
    return data


MUTATIONS = (
    *(flip_bits, flip_bits_with_checksums, truncate, zero_a_stretch, double_a_stretch),
    *(lie_about_size, keep),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The damaged files; every seventh is sound, every tenth has a wrong suffix."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("fuzz")
    originals = list(draw_originals(rng).items())
    for i in range(N_FILES):
        name, data = originals[rng.integers(len(originals))]
        mutate = MUTATIONS[i % len(MUTATIONS)]
        if mutate is flip_bits_with_checksums and not data.startswith(b"\x89PNG"):
            mutate = flip_bits
        if i % 10 == 0:
            name = name.rpartition(".")[0] + str(rng.choice([".tif", ".bmp", ".webp", ".jpeg"]))
        (folder / f"{i:03d}-{mutate.__name__}-{name}").write_bytes(mutate(data, rng))
    (folder / "empty.png").write_bytes(b"")
    (folder / "zeros.jpg").write_bytes(bytes(5000))
    return folder


@pytest.fixture(scope="module")
def detector(fitted_run):
    return fre_lightning.load(fitted_run, device="cpu", n_threads=2)


def test_every_file_is_a_row(folder, detector, tmp_path):
    summary = judge(detector, find_inputs(str(folder)), tmp_path, heatmaps=True)
    with (tmp_path / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == summary.counts.total() == N_FILES + 2
    for row in rows:
        assert (row["score"] == "") == (row["error"] != "")
        if "-keep-" in row["path"]:
            assert row["error"] == "", row
    n_errors = sum(row["error"] != "" for row in rows)
    assert 100 < n_errors < N_FILES - 100  # both were tried


def test_every_file_has_an_answer(folder, detector, tmp_path):
    app = create_app(detector, Limits(2**20, 10**6, 4), None)
    statuses = Counter()
    with TestClient(app) as client:
        for path in sorted(folder.iterdir()):
            response = client.post("/detect?pictures=true", content=path.read_bytes())
            statuses[response.status_code] += 1
            if "-keep-" in path.name:
                assert response.status_code == 200, path
            if response.status_code != 200:
                assert response.json()["detail"], path
    assert set(statuses) == {200, 400, 413}
    assert statuses.total() == N_FILES + 2


def test_damaged_checkpoints_are_refused(fitted_run, tmp_path):
    rng = np.random.default_rng(0)
    data = (fitted_run / "model.ckpt").read_bytes()
    path = tmp_path / "model.ckpt"
    n_refused = 0
    for i in range(60):
        mutate = (flip_bits, truncate, zero_a_stretch, double_a_stretch)[i % 4]
        path.write_bytes(mutate(data, rng))
        try:
            fre_lightning.load(path, device="cpu", n_threads=1)
        except CheckpointError:
            n_refused += 1
        else:  # the damage is where nothing is read: padding, names of the archive
            original = torch.load(fitted_run / "model.ckpt", weights_only=True)["state_dict"]
            state = read_checkpoint(path).state_dict
            for name, value in original.items():
                if isinstance(value, torch.Tensor):
                    assert torch.equal(state[name], value), name
    assert n_refused > 30
