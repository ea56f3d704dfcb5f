"""Regions of interest in a model whose cells see nothing beside themselves."""

import pytest
import torch
from torch.nn import functional as F

from fre_lightning.backbones import Backbone
from fre_lightning.detector.later_parts import recalibrate, update
from fre_lightning.detector.layer import Branch
from fre_lightning.detector.model import FREModel
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.shifts import CellShifts
from fre_lightning.features.standardizer import ChannelStandardizer
from fre_lightning.images.tiling import Tiling
from fre_lightning.reducers import PCA, TiedAutoencoder
from fre_lightning.scoring import Calibration, Scoring

HEIGHT, WIDTH = 32, 48
TOP, LEFT = 8, 16  # of a region that reaches to the right border, in whole cells of 8 pixels
BOX = (..., slice(TOP, 24), slice(LEFT, None))
CPU = torch.device("cpu")


class Mosaic(Backbone):
    """Features of squares of 4 and of 8 pixels, each computed from its own pixels alone."""

    def __init__(self, image_size):
        super().__init__("mosaic", ["4", "8"], 1, image_size, "cbrt")
        generator = torch.Generator().manual_seed(0)
        for layer in self.layers:
            kernel = torch.randn(5, 3, int(layer), int(layer), generator=generator)
            self.register_buffer(f"kernel{layer}", kernel)

    weights_label = "none"

    def forward(self, images, layers=None):
        kernels = [self.get_buffer(f"kernel{layer}") for layer in layers or self.layers]
        return [F.conv2d(images / 255, k, stride=k.shape[-1]).abs() for k in kernels]


def draw(n, seed=0):
    """Images `(n, 3, H, W)` that vary along a few patterns, with noise."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(4, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(9))
    images = torch.einsum("nk,kchw->nchw", torch.rand(n, 4, generator=generator), patterns)
    images += 0.1 * torch.rand(images.shape, generator=generator)
    return (images * 60).to(torch.uint8)


TRAIN, TEST = draw(24), draw(6, seed=1)


def rectangle():
    region = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    region[BOX] = True
    return region


def rows_of(model, images):
    """Their features, as a cache has them."""
    return [
        CachedRows([part.numpy() for part in layer.split(16)], [*range(len(images))], [], True)
        for layer in model.features_of(images)
    ]


def fit(
    images,
    regions=None,
    *,
    grid=(1, 1),
    shared=False,
    blocks=(1, 1),
    reducer=PCA,
    rank=0.9,
    **settings,
):
    """A model fitted to images, with shifted copies."""
    tiling = Tiling(grid, 0.0, shared, blocks)
    (rows, columns), (height, width) = grid, images.shape[2:]
    backbone = Mosaic([height // rows, width // columns])
    others = {} if reducer is PCA else {"epochs": 3, "lr": 1e-2, "batch_size": 8, "space": "span"}
    branches = [
        Branch(
            ChannelStandardizer("cbrt"),
            [reducer(rank, **others) for _ in range(tiling.n_subspaces)],
            tiling,
        )
        for _ in backbone.layers
    ]
    settings = {"statistic": "top", "smoothing": 0.0} | settings
    scoring = Scoring(
        "test", top_fraction=0.2, position_norm=0.5, fusion="mean", weights=None, **settings
    )
    model = FREModel(backbone, branches, scoring, Calibration(4, "none"), tiling)
    model.fit(rows_of(model, images), CPU, CellShifts(100, 10**6), None, regions)
    return model.eval()


def learn(model, images, regions=None, *, replace_scores=True):
    """Update a model."""
    features = model.features_of(images)
    batches = [(features, model.weights_of(features, regions))]
    update(model, batches, replace_scores=replace_scores)
    return model


@pytest.mark.parametrize("statistic", ["top", "sum", "max"])
def test_a_rectangle_of_whole_cells_is_as_good_as_a_crop(statistic):
    model = fit(TRAIN, rectangle(), statistic=statistic)
    cropped = fit(TRAIN[BOX], statistic=statistic)
    scores, maps = model(TEST)
    expected_scores, expected_maps = cropped(TEST[BOX])
    torch.testing.assert_close(scores, expected_scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps[BOX], expected_maps, rtol=1e-4, atol=1e-5)
    for name in ("image_scores", "map_maxima"):
        expected = getattr(cropped.calibration, name)
        torch.testing.assert_close(getattr(model.calibration, name), expected, rtol=1e-5, atol=0)
    maps[BOX] = 0
    assert not maps.any()
    sizes = [reducer.mean.shape for reducer in model.reducers]
    assert sizes == [reducer.mean.shape for reducer in cropped.reducers]


def test_a_rank_by_held_out_images_is_that_of_a_crop():
    ranks = [
        [reducer.n_components for reducer in model.reducers]
        for model in (fit(TRAIN, rectangle(), rank="held_out"), fit(TRAIN[BOX], rank="held_out"))
    ]
    assert ranks[0] == ranks[1]


@pytest.mark.parametrize(
    ("grid", "shared", "blocks"),
    [
        ((1, 1), False, (1, 1)),
        ((2, 3), False, (1, 1)),
        ((2, 3), True, (1, 1)),
        ((1, 1), False, (2, 2)),
        ((1, 3), True, (2, 1)),
    ],
)
def test_what_lies_outside_changes_nothing(grid, shared, blocks):
    region, others = rectangle(), draw(len(TRAIN), seed=2)
    arguments = {"grid": grid, "shared": shared, "blocks": blocks}
    scores, maps = fit(TRAIN, region, **arguments)(TEST)
    spoilt = fit(torch.where(region, TRAIN, others), region, **arguments)
    other_scores, other_maps = spoilt(torch.where(region, TEST, others[:6]))
    torch.testing.assert_close(scores, other_scores, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(maps, other_maps, rtol=1e-5, atol=1e-6)
    assert not maps[:, ~region[0]].any()
    assert maps[:, region[0]].min() > 0


def test_cells_weigh_by_their_part():
    """A quarter of the cells of 8 pixels in the second row counts in that row."""
    region = rectangle()
    region[:, 10:16] = False
    model = fit(TRAIN, region)
    branch = model.branches[1]
    (layer,) = Mosaic([HEIGHT, WIDTH])(TEST, ["8"])
    flat = branch.standardizer(layer.flatten(1)).view(len(TEST), 5, 4, 6)
    weights = torch.zeros(4, 6)
    weights[1:3, 2:] = torch.tensor([[0.25], [1.0]])
    kept = (flat * weights.sqrt())[:, :, 1:3, 2:].flatten(1)
    (reducer,) = branch.reducers
    error = (kept - reducer(kept)).square().view(len(TEST), 5, 2, 4).sum(dim=1)
    expected = torch.zeros(len(TEST), 4, 6)
    expected[:, 1:3, 2:] = error
    torch.testing.assert_close(branch(layer[:, None]), expected, rtol=1e-4, atol=1e-5)
    rows = Mosaic([HEIGHT, WIDTH])(TRAIN, ["8"])[0].flatten(2).double().pow(1 / 3)
    mean = (rows * weights.flatten()).sum(dim=(0, 2)) / weights.sum() / len(TRAIN)
    deviation = ((rows - mean[:, None]).square() * weights.flatten()).sum(dim=(0, 2))
    scale = (weights.sum() * len(TRAIN) / deviation).sqrt()
    # Up to the factors by which noisy channels are damped, which the first layer has, too.
    standardizer = ChannelStandardizer("cbrt")
    standardizer.fit(FeatureMatrix([rows.pow(3).float()]), 5, weights.view(1, -1))
    torch.testing.assert_close(standardizer.scale.double(), scale, rtol=1e-4, atol=0)


def draw_regions(n):
    """A region for each image: all but a square at a random place."""
    generator = torch.Generator().manual_seed(5)
    regions = torch.ones(n, HEIGHT, WIDTH, dtype=torch.bool)
    for region in regions:
        top = 8 * int(torch.randint(3, (), generator=generator))
        left = 8 * int(torch.randint(5, (), generator=generator))
        region[top : top + 8, left : left + 16] = False
    return regions


@pytest.mark.parametrize("statistic", ["top", "sum"])
def test_one_region_for_each_image_may_be_the_same_for_all(statistic):
    one = fit(TRAIN, rectangle(), statistic=statistic)
    each = fit(TRAIN, rectangle().expand(len(TRAIN), -1, -1), statistic=statistic)
    scores, maps = one(TEST)
    regions = rectangle().expand(len(TEST), -1, -1)
    for found in (each(TEST), each(TEST, regions), one(TEST, regions)):
        torch.testing.assert_close(found, (scores, maps), rtol=1e-4, atol=1e-5)
    expected = one.calibration.image_scores
    torch.testing.assert_close(each.calibration.image_scores, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("shared", "blocks"), [(False, (1, 1)), (True, (1, 1)), (False, (2, 1)), (True, (2, 2))]
)
def test_what_an_image_leaves_out_changes_nothing(shared, blocks):
    regions, test_regions = draw_regions(len(TRAIN)), draw_regions(len(TEST))
    others = draw(len(TRAIN), seed=2)
    arguments = {"grid": (1, 3), "shared": shared, "blocks": blocks}
    model = fit(TRAIN, regions, **arguments)
    spoilt = fit(torch.where(regions[:, None], TRAIN, others), regions, **arguments)
    found = model(TEST, test_regions)
    images = torch.where(test_regions[:, None], TEST, others[:6])
    torch.testing.assert_close(found, spoilt(images, test_regions), rtol=1e-5, atol=1e-6)
    assert not found[1][~test_regions].any()
    assert found[1][test_regions].min() > 0


def test_gaps_in_training_images_leave_a_detector_and_hide_defects_in_them():
    gappy = fit(TRAIN, draw_regions(len(TRAIN)))
    bad = TEST.clone()
    bad[:3, :, 16:24, 16:24] = 255 - bad[:3, :, 16:24, 16:24]
    scores = gappy(bad)[0]
    assert scores[:3].min() > 2 * scores[3:].max()
    hidden = torch.ones(len(bad), HEIGHT, WIDTH, dtype=torch.bool)
    hidden[:, 16:24, 16:24] = False
    assert gappy(bad, hidden)[0][:3].max() < 2 * scores[3:].max()


HALF = len(TRAIN) // 2


@pytest.mark.parametrize("replace_scores", [True, False])
def test_an_update_in_a_rectangle_is_that_of_a_crop(replace_scores):
    model, cropped = fit(TRAIN[:HALF], rectangle()), fit(TRAIN[:HALF][BOX])
    learn(model, TRAIN[HALF:], replace_scores=replace_scores)
    learn(cropped, TRAIN[HALF:][BOX], replace_scores=replace_scores)
    (scores, maps), (expected_scores, expected_maps) = model(TEST), cropped(TEST[BOX])
    torch.testing.assert_close(scores, expected_scores, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(maps[BOX], expected_maps, rtol=1e-4, atol=1e-5)
    found, expected = (each.calibration.image_scores for each in (model, cropped))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("grid", "shared"), [((1, 1), False), ((2, 3), True)])
def test_an_update_in_a_region_is_a_fit_on_all_within_3_percent_of_scores(grid, shared):
    check_update(draw(60), 30, rectangle(), 0.03, grid=grid, shared=shared)


def test_an_update_of_blocks_is_a_fit_on_all_within_5_percent_of_scores():
    check_update(draw(40), 10, None, 0.05, blocks=(2, 2))


def check_update(images, n_known, region, error, **arguments):
    """An update gives the scores of a fit on all images, which those before it are far from."""
    whole, part = (fit(i, region, rank=4, **arguments) for i in (images, images[:n_known]))
    expected, before = whole(TEST)[0], part(TEST)[0]
    found = learn(part, images[n_known:])(TEST)[0]
    torch.testing.assert_close(found, expected, rtol=error, atol=0)
    assert float((before / expected - 1).abs().max()) > error + 0.01


@pytest.mark.parametrize(("shared", "blocks"), [(False, (1, 1)), (True, (1, 1)), (True, (2, 2))])
def test_what_later_images_leave_out_changes_nothing(shared, blocks):
    arguments = {"grid": (1, 3), "shared": shared, "blocks": blocks}
    regions, others = draw_regions(len(TRAIN)), draw(len(TRAIN), seed=2)
    spoilt = torch.where(regions[:, None], TRAIN, others)
    for replace_scores in (True, False):
        scores = []
        for images in (TRAIN, spoilt):
            model = fit(TRAIN[:HALF], regions[:HALF], **arguments)
            learn(model, images[HALF:], regions[HALF:], replace_scores=replace_scores)
            scores.append(torch.cat([model(TEST)[0], model.calibration.image_scores]))
        torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)
    calibrated = []
    for images in (TRAIN, spoilt):
        model = fit(TRAIN[:HALF], regions[:HALF], **arguments)
        features = model.features_of(images[HALF:])
        recalibrate(model, [(features, model.weights_of(features, regions[HALF:]))])
        calibrated.append(model.calibration.image_scores)
    torch.testing.assert_close(*calibrated, rtol=1e-4, atol=1e-5)


def test_later_regions_may_be_the_same_for_all():
    each = rectangle().expand(HALF, -1, -1)
    one, other = (fit(TRAIN[:HALF], rectangle()) for _ in "ab")
    expected, found = learn(one, TRAIN[HALF:]), learn(other, TRAIN[HALF:], each)
    torch.testing.assert_close(found(TEST), expected(TEST), rtol=1e-4, atol=1e-5)
    scores = (model.calibration.image_scores for model in (found, expected))
    torch.testing.assert_close(*scores, rtol=1e-4, atol=0)


@pytest.mark.parametrize("reducer", [PCA, TiedAutoencoder])
def test_tiles_without_a_region_have_no_subspace(reducer):
    region = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    region[:, :, 16:32] = True
    model = fit(TRAIN, region, grid=(1, 3), reducer=reducer, rank=3)
    assert len(model.reducers) == 2  # one of each layer
    for each in model.reducers:
        if reducer is TiedAutoencoder:
            each.training_epoch()
            each.finish()
    assert model.is_fitted
    scores, maps = model(TEST)
    assert scores.isfinite().all()
    assert not maps[..., :16].any()
    assert not maps[..., 32:].any()
    if reducer is PCA:
        assert learn(model, draw(8, seed=3))(TEST)[0].isfinite().all()


@pytest.mark.parametrize("blocks", [(1, 1), (2, 2)])
def test_it_is_loaded_as_it_was_saved(blocks):
    for regions in (rectangle(), draw_regions(len(TRAIN)), None):
        model = fit(TRAIN, regions, blocks=blocks)
        state = model.state_dict()
        has_cells = regions is not None or blocks != (1, 1)
        assert ("region" in state) == (regions is not None)
        assert (any("cells" in name for name in state)) == has_cells
        reducers = [[PCA(0.9) for _ in range(model.tiling.n_subspaces)] for _ in "ab"]
        empty = FREModel(
            model.backbone,
            [Branch(ChannelStandardizer("cbrt"), each, model.tiling) for each in reducers],
            Scoring("test", "top", 0.2, 0.5, "mean", None, 0.0),
            Calibration(4, "none"),
            model.tiling,
        )
        empty.load_state_dict(state)
        torch.testing.assert_close(empty(TEST), model(TEST), rtol=0, atol=0)
