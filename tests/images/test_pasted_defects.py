"""Drawn defects: where they are, how strong, and always the same."""

import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.errors import ConfigError, UnreadableImageError
from fre_lightning.images.pasted_defects import KINDS, PastedDefects, draw_defect
from fre_lightning.images.reading import read_image

FLAT = np.full((60, 90), 100, np.uint8)


def draw(kind, levels=FLAT, donor=FLAT, seed=0):
    return draw_defect(kind, levels, donor, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["spot", "scratch"])
def test_spots_and_scratches_are_small_and_within_their_contrast(kind):
    for seed in range(20):
        change = draw(kind, seed=seed).astype(int) - 100
        assert change.shape == (60, 90)
        assert (change >= 0).all() or (change <= 0).all()
        assert 1 <= np.abs(change).max() <= 80
        assert (change == 0).mean() > 0.9


def test_a_piece_is_of_the_other_image():
    stripes = np.stack([np.tile(np.uint8([[10], [200]]), (20, 30)) for _ in range(3)], axis=-1)
    for seed in range(20):
        spoilt = draw("piece", donor=stripes, seed=seed)
        assert spoilt.shape == (60, 90, 3)
        assert (spoilt == 100).mean() > 0.9
        assert spoilt.min() < 60 or spoilt.max() > 140  # a level of the stripes, or near it
        assert spoilt.min() >= 10
        assert spoilt.max() <= 200


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (700, 500, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_images_of_any_shape(kind, shape):
    levels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    spoilt = draw(kind, levels, levels[::-1])
    assert spoilt.shape == shape
    assert spoilt.dtype == np.uint8


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return sorted(tmp_path.iterdir())


def test_kinds_take_turns_and_an_image_has_the_same_defect_at_every_size(paths):
    first, second = PastedDefects(paths, 0), PastedDefects(paths, 1)
    assert [first.kind(path) for path in paths] == [*KINDS, *KINDS]
    assert [second.kind(path) for path in paths] == [*KINDS[1:], *KINDS, KINDS[0]]
    assert first.fingerprint() != second.fingerprint()
    for path in paths:
        spoilt = first(path, (40, 40))
        assert torch.equal(spoilt, PastedDefects(paths, 0)(path, (40, 40)))
        assert not torch.equal(spoilt, second(path, (40, 40)))
        changed = (spoilt != read_image(path, (40, 40))).any(dim=0)
        assert 0 < changed.float().mean() < 0.3
        difference = (first(path, (20, 20)).int() - read_image(path, (20, 20)).int()).abs()
        rows, columns = changed.nonzero().T
        near = torch.zeros(20, 20, dtype=torch.bool)
        near[
            max(0, int(rows.min()) // 2 - 3) : int(rows.max()) // 2 + 4,
            max(0, int(columns.min()) // 2 - 3) : int(columns.max()) // 2 + 4,
        ] = True
        assert difference.amax(dim=0)[~near].max() <= 1 if (~near).any() else True


def test_only_some_kinds(paths):
    assert {PastedDefects(paths, 1, ["spot"]).kind(path) for path in paths} == {"spot"}
    for kinds in ([], ["dent"]):
        with pytest.raises(ConfigError, match="piece, spot, scratch"):
            PastedDefects(paths, 0, kinds)


def test_a_damaged_image_is_named_and_spoils_no_other(paths):
    paths[2].write_bytes(b"broken")
    for turn in range(6):
        defects = PastedDefects(paths, turn)
        for path in paths[:2] + paths[3:]:
            assert defects(path, (40, 40)).shape == (3, 40, 40)
        with pytest.raises(UnreadableImageError, match=r"2\.png"):
            defects(paths[2], (40, 40))


def test_defects_lie_where_images_count(paths, tmp_path):
    region = np.zeros((40, 40), np.uint8)
    region[5:15, 5:15] = 255
    Image.fromarray(region).save(tmp_path / "region.png")
    for turn in range(4):
        defects = PastedDefects(paths, turn, KINDS, [tmp_path / "region.png"] * 6)
        for path in paths:
            changed = (defects(path, (40, 40)) != read_image(path, (40, 40))).any(dim=0)
            assert changed[5:15, 5:15].any()
    assert defects.fingerprint() != PastedDefects(paths, 3).fingerprint()
    nowhere = np.zeros((60, 90), bool)
    nowhere[0, 0] = True
    assert (draw_defect("spot", FLAT, FLAT, np.random.default_rng(0), nowhere) != 100).any()
