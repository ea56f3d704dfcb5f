import numpy as np
import pytest
import torch

from fre_lightning.errors import ConfigError
from fre_lightning.ood.windows import check_windows, read_windows, to_vectors


def test_windows_of_one_position_and_of_all():
    maps = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(to_vectors(maps, 1), maps.flatten(1))
    torch.testing.assert_close(to_vectors(maps, 6), to_vectors(maps))
    torch.testing.assert_close(to_vectors(maps), maps.mean(dim=(2, 3)))
    # Windows of equal size: the mean of their averages is that of all positions.
    pooled = to_vectors(maps, 2).view(3, 4, 9).mean(dim=2)
    torch.testing.assert_close(pooled, to_vectors(maps))
    first = np.mean(maps[0, 1, :2, 2:4].numpy())
    assert float(to_vectors(maps, 2)[0, 9 + 1]) == pytest.approx(float(first), rel=1e-5)


def test_tokens_and_vectors_have_no_windows():
    tokens = torch.randn(3, 5, 4)
    torch.testing.assert_close(to_vectors(tokens, 2), tokens.mean(dim=1))
    torch.testing.assert_close(to_vectors(tokens[:, 0], 2), tokens[:, 0])


def test_settings():
    assert read_windows(None, 2) == (None, None, None)
    assert read_windows(3, 2) == (3, 3, None)
    assert read_windows([None, 2], 2) == (None, 2, None)
    for pool in (0, [1], [1, -1]):
        with pytest.raises(ConfigError, match="for each of the 2"):
            read_windows(pool, 2)


def test_what_windows_need():
    outputs = {"a": torch.zeros(1, 2, 4, 5), "b": torch.zeros(1, 2), "logits": torch.zeros(1, 3)}
    check_windows("net", {"a": 4, "b": 4, "logits": None}, outputs)
    check_windows("net", {"a": None, "b": None, "logits": None}, outputs)
    with pytest.raises(ConfigError, match="and b of net is no map"):
        check_windows("net", {"a": None, "b": 2, "logits": None}, outputs)
    with pytest.raises(ConfigError, match="pool=5 is too large for the maps of a, which have 4x5"):
        check_windows("net", {"a": 5, "b": 5, "logits": None}, outputs)
