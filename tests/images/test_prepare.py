"""Images as programs hold them are what files of them are."""

import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.notices import start_run
from fre_lightning.images.prepare import prepare_image
from fre_lightning.images.reading import read_image

SIZE = (20, 24)


def levels(*shape, high=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def test_a_file_is_read_as_in_training_whatever_holds_it(tmp_path):
    for mode, array in (
        ("L", levels(33, 47)),
        ("RGB", levels(33, 47, 3)),
        ("I;16", levels(33, 47, high=65536, dtype=np.uint16)),
    ):
        path = tmp_path / f"{mode[0]}.png"
        Image.fromarray(array).save(path)
        expected = read_image(path, SIZE)
        opened = Image.open(path)
        assert opened.mode == mode
        held = [path, str(path), opened, array]
        if array.ndim == 3:
            held.append(torch.from_numpy(array).permute(2, 0, 1))
        else:
            held += [array[..., None], torch.from_numpy(array), torch.from_numpy(array)[None]]
        for image in held:
            prepared = prepare_image(image, SIZE)
            assert torch.equal(prepared.pixels, expected), (mode, type(image))
            assert prepared.size == (33, 47)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_orientation_in_exif_is_ignored_as_in_training(tmp_path, caplog, suffix):
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(levels(30, 60, 3)).save(path, exif=exif)
    start_run()
    for image in (path, Image.open(path)):
        prepared = prepare_image(image, SIZE)
        assert prepared.size == (30, 60)
        assert torch.equal(prepared.pixels, read_image(path, SIZE))
    (warning,) = caplog.messages
    assert f"{path} is turned in viewers by the orientation in its EXIF data" in warning


def test_damaged_exif_data_do_not_matter(tmp_path):
    image = Image.fromarray(levels(30, 60, 3))
    image.save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0" + b"\xff" * 9)
    assert prepare_image(tmp_path / "a.jpg", SIZE).size == (30, 60)


def test_other_types_become_the_nearest_levels():
    grey = levels(*SIZE)
    expected = torch.from_numpy(grey)
    kinds = [
        grey.astype(np.uint16) * 257 - np.uint16(100) * (grey > 0),
        grey / 255.0,
        (grey / 255).astype(np.float32),
        torch.from_numpy(grey / 255).to(torch.bfloat16),
        np.dstack([grey] * 3 + [np.full_like(grey, 255)]),
        torch.from_numpy(grey).expand(3, -1, -1),
        torch.from_numpy(grey.astype(np.uint16) * 257),
    ]
    for image in kinds:
        pixels = prepare_image(image, SIZE).pixels
        off = 1 if getattr(image, "dtype", None) == torch.bfloat16 else 0
        assert (pixels.int() - expected.int()).abs().max() <= off
    black_and_white = prepare_image(grey > 100, SIZE).pixels
    assert torch.equal(black_and_white[0] == 255, expected > 100)


def test_transparent_arrays_lie_on_white_as_files_do(tmp_path):
    array = levels(33, 47, 4)
    array[:9, :, 3] = 0
    Image.fromarray(array).save(tmp_path / "a.png")
    expected = read_image(tmp_path / "a.png", SIZE)
    assert (expected[:, :2] == 255).all()
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for image in (array, array.astype(np.uint16) * 257, array / 255, tensor):
        assert torch.equal(prepare_image(image, SIZE).pixels, expected)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (levels(3, 20, 20), r"\(3, 20, 20\).*\(H, W, 3\)"),
        (torch.zeros(20, 20, 3), r"\(20, 20, 3\).*\(3, H, W\)"),
        (torch.zeros(1, 3, 20, 20), "no image"),
        (np.zeros((2, 3, 4, 5)), "no image"),
        (np.zeros((0, 4), np.uint8), "no image"),
        (Image.new("L", (0, 5)), "0x5"),
        (np.zeros((5, 5), np.int64), "int64.*uint8"),
        (np.zeros((5, 5), complex), "complex128"),
        (np.full((5, 5), 255.0), "0..1.*Divide by 255"),
        (torch.full((3, 5, 5), -0.5), "0..1"),
        (np.full((5, 5), np.nan), "nan"),
    ],
)
def test_what_is_no_image_is_told(image, words):
    with pytest.raises(UnreadableImageError, match=words):
        prepare_image(image, SIZE)


def test_other_objects():
    with pytest.raises(TypeError, match="path"):
        prepare_image([1, 2], SIZE)


@pytest.mark.parametrize("content", [None, b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_an_unreadable_file_is_named_without_advice_on_datasets(tmp_path, content):
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"x\.png") as caught:
        prepare_image(tmp_path / "x.png", SIZE)
    assert "skip_unreadable" not in str(caught.value)


def test_a_truncated_file_and_a_truncated_pillow_image(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(levels(90, 90, 3)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    for image in (path, Image.open(path)):
        with pytest.raises(UnreadableImageError):
            prepare_image(image, SIZE)


def test_a_fault_of_the_decoder_is_the_files(tmp_path, monkeypatch):
    path = tmp_path / "x.tif"
    Image.fromarray(levels(9, 9)).save(path)

    def broken(*_):
        raise KeyError(0x00BADA55)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", broken)
    for image in (path, Image.open(path)):
        with pytest.raises(UnreadableImageError):
            prepare_image(image, SIZE)
