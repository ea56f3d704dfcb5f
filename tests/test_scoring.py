import pytest
import torch
from torchvision.transforms.functional import resize

from fre_lightning.errors import ConfigError
from fre_lightning.scoring import PaperScoring, TopKScoring, error_map, pool_features


def test_error_map_and_score_by_hand():
    error = torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.0, -1.0, 0.0, 2.0]])  # C=2, h=2, w=2
    maps = error_map(error, (2, 2, 2))
    torch.testing.assert_close(maps, torch.tensor([[[1.0, 5.0], [9.0, 20.0]]]))
    torch.testing.assert_close(PaperScoring().image_score(maps), torch.tensor([35.0]))


def test_pooling_is_a_plain_mean_and_drops_the_rest():
    feature_map = torch.arange(2 * 5 * 4.0).view(1, 2, 5, 4)
    pooled = pool_features(feature_map, 2)
    assert pooled.shape == (1, 2, 2, 2)
    torch.testing.assert_close(pooled[0, 1, 1, 0], feature_map[0, 1, 2:4, 0:2].mean())
    assert pool_features(feature_map, 1) is feature_map


def test_anomaly_map_is_the_published_resize():
    maps = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(0))
    for size in ((64, 50), (5, 4)):
        expected = resize(maps, list(size), antialias=True)
        torch.testing.assert_close(PaperScoring().anomaly_map(maps, size), expected)


def draw_maps(n=50, seed=0):
    """Normal maps whose left half reconstructs four times as badly as the right one."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(n, 6, 8, generator=generator) + 0.5
    maps[:, :, :4] *= 4
    return maps


def test_the_top_score_by_hand():
    maps = torch.tensor([[[1.0, 2.0], [3.0, 10.0]], [[0.0, 0.0], [0.0, 4.0]]])
    scores = [TopKScoring(q, 0.0).image_score(maps).tolist() for q in (0.01, 0.5, 1.0)]
    assert scores == [[10.0, 4.0], [6.5, 2.0], [4.0, 1.0]]


@pytest.mark.parametrize(("power", "ratio"), [(0.0, 4.0), (0.5, 2.0), (1.0, 1.0)])
def test_maps_are_divided_by_a_power_of_the_expected_error(power, ratio):
    scoring = TopKScoring(0.1, power)
    scoring.fit(draw_maps())
    mean = scoring.normalize(draw_maps(seed=1)).mean(dim=0)
    # Away from the border between the halves, where the expected error is smoothed.
    assert (mean[:, :3].mean() / mean[:, 5:].mean()).item() == pytest.approx(ratio, rel=0.1)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_normal_maps_end_at_one_whatever_their_scale(scale):
    scoring = TopKScoring(0.1, 0.5)
    scoring.fit(draw_maps() * scale)
    assert scoring.normalize(draw_maps(seed=1) * scale).mean().item() == pytest.approx(1, rel=0.05)


def test_a_position_without_any_error_stays_finite():
    maps = draw_maps()
    maps[:, :4] = 0
    scoring = TopKScoring(0.1, 1.0)
    scoring.fit(maps)
    assert scoring.normalize(maps).isfinite().all()


def test_what_was_learnt_is_stored():
    scoring, other = TopKScoring(0.1, 0.5), TopKScoring(0.1, 0.5)
    scoring.fit(draw_maps())
    other.load_state_dict(scoring.state_dict())
    assert torch.equal(other.normalize(draw_maps()), scoring.normalize(draw_maps()))


@pytest.mark.parametrize("wrong", [(0.0, 0.5), (1.1, 0.5), (0.1, 1.5)])
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match=r"scoring\.top_fraction"):
        TopKScoring(*wrong)
