"""Blind spots of detectors whose blindness is known."""

import math

import pytest
import torch

from fre_lightning.metrics.blind_spots import CONTRASTS, SPOT, draw_spots, find_blind_spots


def test_spots_are_round_and_lie_in_the_middle_of_cells():
    spots = draw_spots(64, 128, 4)
    assert spots.shape == (16, 64, 128)
    area = math.pi * (64 * SPOT / 2) ** 2
    assert spots.sum(dim=(1, 2)).tolist() == pytest.approx([area] * 16, rel=0.15)
    y = torch.arange(64) + 0.5
    centre = (spots[5] * y[:, None]).sum() / spots[5].sum()  # the second row
    assert float(centre) == pytest.approx(1.5 * 64 / 4)
    x = torch.arange(128) + 0.5
    centre = (spots[5] * x).sum() / spots[5].sum()  # the second column
    assert float(centre) == pytest.approx(1.5 * 128 / 4)


@pytest.mark.parametrize("level", [40, 200])
def test_the_smallest_contrast_that_is_noticed_is_found(level):
    """A detector of the largest deviation, which is blind on the right and half so at the top."""
    image = torch.full((3, 128, 128), level, dtype=torch.uint8)
    sensitivity = torch.ones(128, 128)
    sensitivity[:, 96:] = 0
    sensitivity[:32] *= 0.5
    seen = []

    def score(batch):
        assert batch.dtype == torch.uint8
        seen.append(len(batch))
        return ((batch.float() - level).abs().mean(dim=1) * sensitivity).amax(dim=(1, 2))

    found = find_blind_spots(score, image, 10.0, 4)
    # 11.3 is the first contrast whose rounded deviation, 11, exceeds 10; at the top 22.6
    expected = torch.full((4, 4), 2.0**3.5)
    expected[0] = 2.0**4.5
    expected[:, 3] = math.inf
    torch.testing.assert_close(found, expected)
    assert max(seen) <= 32
    assert sum(seen) <= 16 * math.ceil(math.log2(len(CONTRASTS) + 1))


def test_a_bright_part_gets_dark_spots_and_a_dark_one_bright_spots():
    for level, sign in ((10, 1), (250, -1)):
        image = torch.full((3, 64, 64), level, dtype=torch.uint8)
        changes = []

        def score(batch, level=level, changes=changes):
            changes.append((batch.float() - level).sum())
            return batch.new_zeros(len(batch), dtype=torch.float32)

        assert find_blind_spots(score, image, 1.0, 2).isinf().all()
        assert all(sign * change > 0 for change in changes)
