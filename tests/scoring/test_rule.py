import pytest
import torch
from torchvision.transforms.functional import resize

from fre_lightning.backbones.base import pool_features
from fre_lightning.errors import ConfigError
from fre_lightning.images.tiling import Tiling
from fre_lightning.scoring.rule import error_map

UNTILED = Tiling([1, 1], 0.0, shared=False, blocks=[1, 1])


def test_error_map_and_score_by_hand(paper):
    error = torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.0, -1.0, 0.0, 2.0]])  # C=2, h=2, w=2
    maps = error_map(error, (2, 2, 2))
    torch.testing.assert_close(maps, torch.tensor([[[1.0, 5.0], [9.0, 20.0]]]))
    torch.testing.assert_close(paper.image_score(maps), torch.tensor([35.0]))


def test_pooling_is_a_plain_mean_and_drops_the_rest():
    feature_map = torch.arange(2 * 5 * 4.0).view(1, 2, 5, 4)
    pooled = pool_features(feature_map, 2)
    assert pooled.shape == (1, 2, 2, 2)
    torch.testing.assert_close(pooled[0, 1, 1, 0], feature_map[0, 1, 2:4, 0:2].mean())
    assert pool_features(feature_map, 1) is feature_map


def test_anomaly_map_is_the_published_resize(paper):
    maps = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(0))
    for size in ((64, 50), (5, 4)):
        expected = resize(maps, list(size), antialias=True)
        torch.testing.assert_close(paper.anomaly_map(maps, size, UNTILED), expected)


def draw_maps(n=50, seed=0):
    """Normal maps whose left half reconstructs four times as badly as the right one."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(n, 6, 8, generator=generator) + 0.5
    maps[:, :, :4] *= 4
    return maps


def test_the_top_score_by_hand(make):
    maps = torch.tensor([[[1.0, 2.0], [3.0, 10.0]], [[0.0, 0.0], [0.0, 4.0]]])
    scores = [make(top_fraction=q).image_score(maps).tolist() for q in (0.01, 0.5, 1.0)]
    assert scores == [[10.0, 4.0], [6.5, 2.0], [4.0, 1.0]]


@pytest.mark.parametrize(("power", "ratio"), [(0.0, 4.0), (0.5, 2.0), (1.0, 1.0)])
def test_maps_are_divided_by_a_power_of_the_expected_error(make, power, ratio):
    scoring = make(position_norm=power)
    scoring.fit([draw_maps()])
    mean = scoring.normalize([draw_maps(seed=1)]).mean(dim=0)
    # Away from the border between the halves, where the expected error is smoothed.
    assert (mean[:, :3].mean() / mean[:, 5:].mean()).item() == pytest.approx(ratio, rel=0.1)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_normal_maps_end_at_one_whatever_their_scale(make, scale):
    scoring = make()
    scoring.fit([draw_maps() * scale])
    assert scoring.normalize([draw_maps(seed=1) * scale]).mean().item() == pytest.approx(
        1, rel=0.05
    )


def test_a_position_without_any_error_stays_finite(make):
    maps = draw_maps()
    maps[:, :4] = 0
    scoring = make(position_norm=1.0)
    scoring.fit([maps])
    assert scoring.normalize([maps]).isfinite().all()


def test_paper_leaves_the_maps_of_one_layer_as_they_are(paper):
    paper.fit([draw_maps()])
    assert torch.equal(paper.normalize([draw_maps()]), draw_maps())


def test_no_layer_outweighs_another_for_its_scale(scoring):
    fine, coarse = draw_maps(), draw_maps(seed=2)[:, ::2, ::2]
    scoring.fit([fine, coarse])
    fused = scoring.normalize([fine, coarse])
    scoring.fit([1e4 * fine, 1e-4 * coarse])
    torch.testing.assert_close(scoring.normalize([1e4 * fine, 1e-4 * coarse]), fused)
    assert fused.shape == fine.shape
    assert fused.mean().item() == pytest.approx(1, rel=0.05)


def test_fusion_by_hand(make):
    maps = [torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[5.0, 1.0]]])]
    assert make().normalize(maps).tolist() == [[[3.0, 2.0]]]
    assert make(fusion="max").normalize(maps).tolist() == [[[5.0, 3.0]]]
    assert make(weights=[3.0, 1.0]).normalize(maps).tolist() == [[[2.0, 2.5]]]


def draw_backbones():
    """Held-out maps of two backbones, of two layers and one, the last of which varies most."""
    generator = torch.Generator().manual_seed(3)
    maps = [draw_maps(seed=seed) for seed in (1, 2, 3)]
    levels = 1 + 0.6 * torch.rand(len(maps[0]), 1, 1, generator=generator)
    return [*maps[:2], maps[2] * levels]


def test_backbones_count_by_the_spread_of_their_scores(make):
    maps = draw_backbones()
    scoring = make(fusion="spread")
    scoring.owners = [0, 0, 1]
    scoring.fit(maps)
    alone = []
    for part in (maps[:2], maps[2:]):
        level = make()
        level.fit(part)
        alone.append((level.normalize(part), level.image_score(level.normalize(part)).std()))
    (first, spread_1), (second, spread_2) = alone
    assert spread_2 > 2 * spread_1
    expected = (first / spread_1 + second / spread_2) / (1 / spread_1 + 1 / spread_2)
    torch.testing.assert_close(scoring.normalize(maps), expected)
    assert scoring.normalize(maps).mean().item() == pytest.approx(1, rel=0.01)

    shares = scoring.shares.clone()
    scoring.fit([m[:4] for m in maps], prior=scoring.expected)  # few images do not tell the spread
    assert torch.equal(scoring.shares, shares)
    restored = make(fusion="spread")
    restored.load_state_dict(scoring.state_dict())
    assert torch.equal(restored.normalize(maps), scoring.normalize(maps))


def test_a_backbone_may_be_left_out(make):
    maps = draw_backbones()
    scoring = make(fusion="spread", weights=[0.0, 0.0, 1.0])
    scoring.owners = [0, 0, 1]
    scoring.fit(maps)
    alone = make()
    alone.fit(maps[2:])
    torch.testing.assert_close(scoring.normalize(maps), alone.normalize(maps[2:]))


def test_layers_of_one_backbone_count_alike(make):
    maps = draw_backbones()
    scores = []
    for fusion in ("mean", "spread"):
        scoring = make(fusion=fusion)
        scoring.owners = [0, 0, 0]
        scoring.fit(maps)
        scores.append(scoring.normalize(maps))
    assert torch.equal(*scores)


def test_layers_of_one_backbone_count_by_the_side_of_their_grid(make):
    fine = draw_maps()  # of 6 x 8 cells
    coarse = torch.nn.functional.avg_pool2d(draw_maps(seed=1), 2)
    scoring, each = make(fusion="spread"), make(fusion="mean", weights=[2.0, 1.0])
    scoring.fit([fine, coarse])
    each.fit([fine, coarse])
    torch.testing.assert_close(scoring.normalize([fine, coarse]), each.normalize([fine, coarse]))


def test_a_constant_backbone_stays_finite(make):
    maps = draw_backbones()
    scoring = make(fusion="spread")
    scoring.owners = [0, 1, 2]
    scoring.fit([torch.ones_like(maps[0]), *maps[1:]])
    assert scoring.normalize(maps).isfinite().all()


def test_smoothing_is_a_gaussian_that_keeps_what_is_flat(make):
    maps = torch.zeros(1, 33, 33)
    maps[0, 16, 16] = 1
    smooth = make(smoothing=2.0).anomaly_map(maps, (33, 33), UNTILED)[0]
    assert smooth.sum().item() == pytest.approx(1, abs=1e-3)
    squares = (torch.arange(33) - 16.0).square()
    assert (smooth.sum(dim=0) * squares).sum().item() == pytest.approx(4.0, rel=0.02)
    flat = torch.ones(1, 8, 8)
    torch.testing.assert_close(
        make(smoothing=2.0).anomaly_map(flat, (16, 16), UNTILED)[0, 4, 4].item(), 1.0
    )


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"top_fraction": 0.0}, r"scoring\.top_fraction"),
        ({"top_fraction": 1.1}, r"scoring\.top_fraction"),
        ({"position_norm": 1.5}, r"scoring\.position_norm"),
        ({"smoothing": -1.0}, r"scoring\.smoothing"),
        ({"statistic": "median"}, "sum, max, top"),
        ({"fusion": "product"}, "mean, max, spread"),
    ],
)
def test_settings_out_of_range(make, wrong, match):
    with pytest.raises(ConfigError, match=match):
        make(**wrong)


def test_as_many_weights_as_layers(make):
    with pytest.raises(ConfigError, match="one for each layer"):
        make(weights=[1.0]).fit([draw_maps(), draw_maps()])


def test_few_later_images_bring_their_level_and_a_part_of_their_profile(make):
    generator = torch.Generator().manual_seed(0)
    earlier, later = torch.rand(2, 200, 4, 4, generator=generator) + 0.1
    earlier[:, 0] *= 5  # this row used to be bright
    old, few, many = make(), make(), make()
    old.fit([earlier])
    few.fit([3 * later[:5]], old.expected)
    many.fit([3 * later], old.expected)
    for scoring, maps in ((few, later[:5]), (many, later)):
        assert float(scoring.normalize([3 * maps]).mean()) == pytest.approx(1, rel=1e-5)
    contrast = [float(s.expected[:4].mean() / s.expected[4:].mean()) for s in (old, few, many)]
    assert contrast[0] > contrast[1] > contrast[2]
    assert contrast[2] == pytest.approx(1, abs=0.2)


def test_the_top_is_a_share_of_the_cells_that_count(make):
    maps = torch.tensor([[[1.0, 2.0], [3.0, 10.0]]])
    scoring = make(top_fraction=0.5)
    assert scoring.image_score(maps).item() == 6.5
    scoring.weigh([torch.tensor([[0.0, 0.0], [1.0, 1.0]])])  # half of two
    assert scoring.image_score(maps).item() == 10
    scoring.weigh([torch.tensor([[0.5, 0.5], [0.5, 0.5]])])  # half of two halves and a whole
    assert scoring.image_score(maps).item() == 10


@pytest.mark.parametrize(
    ("statistic", "expected"), [("top", [6.5, 7]), ("max", [10, 7]), ("sum", [16, 16])]
)
def test_images_of_which_more_or_less_counts_are_comparable(make, statistic, expected):
    maps = torch.tensor([[[1.0, 2.0], [3.0, 10.0]], [[0.0, 7.0], [0.0, 1.0]]])
    weights = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    scores = make(statistic, top_fraction=0.5).image_score(maps, weights)
    assert scores.tolist() == expected


def test_maps_are_expected_to_err_as_inside(make):
    """Cells that do not count take no part in what is expected of their neighbours."""
    maps, weights = draw_maps(), torch.zeros(6, 8)
    weights[1:4, 2:7] = 1
    weighed, cropped = make(), make()
    weighed.weigh([weights])
    weighed.fit([maps * weights])
    cropped.fit([maps[:, 1:4, 2:7]])
    found = weighed.normalize([maps * weights])[:, 1:4, 2:7]
    torch.testing.assert_close(found, cropped.normalize([maps[:, 1:4, 2:7]]))
