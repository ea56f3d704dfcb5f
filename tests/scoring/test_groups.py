"""Images that belong together: found where they are sequences, and dealt to folds whole."""

import pytest
import torch
from torch.nn import functional as F

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.scoring import Calibration, groups
from fre_lightning.scoring.groups import deal_groups, effective_number, find_groups

N_RECORDINGS, N_FRAMES = 6, 8


def record(spread, seed=0):
    """Features of recordings of frames in file order, and the number of each frame's recording."""
    generator = torch.Generator().manual_seed(seed)
    scenes = torch.randn(N_RECORDINGS, 500, generator=generator)
    frames = scenes.repeat_interleave(N_FRAMES, dim=0)
    frames = frames + spread * torch.randn(frames.shape, generator=generator)
    return frames, torch.arange(N_RECORDINGS).repeat_interleave(N_FRAMES)


def same(first, second):
    """Whether two vectors of group numbers say the same."""
    pairs = {(int(a), int(b)) for a, b in zip(first, second, strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@pytest.mark.parametrize("n_parts", [1, 2])
def test_recordings_are_found(n_parts):
    frames, recordings = record(spread=0.5)
    found = find_groups([FeatureMatrix([part]) for part in frames.chunk(n_parts, dim=1)])
    assert same(found, recordings)


def test_many_images_are_compared_with_their_neighbours_only(monkeypatch):
    monkeypatch.setattr(groups, "MOST_COMPARED", 10)
    frames, recordings = record(spread=0.5)
    assert same(find_groups([FeatureMatrix([frames])]), recordings)


def test_the_same_images_in_random_order_count_as_independent():
    frames, _ = record(spread=0.5)
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(1))
    assert find_groups([FeatureMatrix([frames[order]])]) is None


@pytest.mark.parametrize("n_images", [1, 3, 60])
def test_independent_images_belong_to_no_group(n_images):
    images = torch.randn(n_images, 300, generator=torch.Generator().manual_seed(2))
    assert find_groups([FeatureMatrix([images])]) is None


def test_copies_belong_together_wherever_they_lie():
    images = torch.randn(30, 300, generator=torch.Generator().manual_seed(3))
    images[17] = images[4] + 0.01 * torch.randn(300, generator=torch.Generator().manual_seed(4))
    found = find_groups([FeatureMatrix([images])])
    expected = torch.arange(30)
    expected[17] = 4
    assert same(found, expected)


def test_images_that_are_all_alike_are_one_group_not_an_error():
    assert find_groups([FeatureMatrix([torch.ones(24, 50)])]) is None


def test_groups_are_held_out_whole_in_folds_of_equal_size():
    numbers = torch.tensor([0, 0, 0, 1, 2, 2, 3, 1, 4, 4])  # of 3, 2, 2, 1 and 2
    folds = deal_groups(numbers, 3)
    assert all(len(set(folds[numbers == n].tolist())) == 1 for n in range(5))
    assert sorted(folds.bincount().tolist()) == [3, 3, 4]
    assert len(deal_groups(numbers, 9).unique()) == 5


def test_unequal_groups_count_less():
    assert effective_number(torch.tensor([0, 0, 1, 1, 2, 2])) == pytest.approx(3)
    assert effective_number(F.pad(torch.arange(1, 3), (8, 0))) == pytest.approx(100 / 66)


def test_few_recordings_are_warned_of_and_many_are_not(caplog):
    calibration = Calibration(5, "auto")
    folds = calibration.draw_folds(30, torch.arange(30) // 5)
    assert calibration.n_groups == 6
    assert "few recordings: 6 groups" in caplog.text
    assert len(folds.unique()) == 5
    caplog.clear()
    calibration.draw_folds(60, torch.arange(60) // 2)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_single_group_cannot_be_held_out():
    with pytest.raises(ConfigError, match=r"calibration\.groups=folder"):
        Calibration(5, "folder").draw_folds(4, torch.zeros(4).long())
