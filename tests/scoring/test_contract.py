"""What every scoring rule must do: each file of `configs/scoring` is tested."""

import io

import pytest
import torch

from fre_lightning.config import build
from fre_lightning.images.tiling import Tiling
from tests.configs import compose_config, names

N = 12


@pytest.fixture(params=names("scoring"), scope="module")
def make(request):
    node = compose_config(f"scoring={request.param}").scoring
    return lambda: build(node)


@pytest.fixture(params=[1, 2], ids=["one layer", "two layers"])
def held_out(request):
    """Error maps of normal images of one layer, or of a second one that is coarser."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(8, 6), (4, 3)][: request.param]
    scale = 1 + torch.arange(6.0)
    maps = [torch.rand(N, *size, generator=generator) * scale[: size[1]] for size in sizes]
    return [0.1 + m for m in maps]


@pytest.fixture
def scoring(make, held_out):
    scoring = make()
    scoring.fit(held_out)
    return scoring


def score(scoring, maps):
    return scoring.image_score(scoring.normalize(maps))


def test_scores_and_maps_have_their_shapes(scoring, held_out):
    normalized = scoring.normalize(held_out)
    assert normalized.shape == (N, 8, 6)
    scores = scoring.image_score(normalized)
    assert (scores.shape, scores.dtype) == ((N,), torch.float32)
    untiled = Tiling([1, 1], 0.0, shared=False, blocks=[1, 1])
    anomaly_maps = scoring.anomaly_map(normalized, (32, 24), untiled)
    assert anomaly_maps.shape == (N, 32, 24)
    assert anomaly_maps.isfinite().all()
    assert anomaly_maps.min() >= 0
    tiled = scoring.anomaly_map(
        normalized, (16, 12), Tiling([2, 2], 0.0, shared=False, blocks=[1, 1])
    )
    assert tiled.shape == (N, 32, 24)


def test_larger_errors_everywhere_score_higher(scoring, held_out):
    before, after = score(scoring, held_out), score(scoring, [1.5 * m + 0.1 for m in held_out])
    assert (after > before).all()
    assert before.argsort().tolist() == score(scoring, [2 * m for m in held_out]).argsort().tolist()


def test_a_defect_raises_the_score_and_its_part_of_the_map(scoring, held_out):
    spoilt = [m.clone() for m in held_out]
    for maps in spoilt:
        height, width = maps.shape[1:]
        maps[0, : height // 4, : width // 3] += 50
    assert score(scoring, spoilt)[0] > score(scoring, held_out).max()
    untiled = Tiling([1, 1], 0.0, shared=False, blocks=[1, 1])
    anomaly_map = scoring.anomaly_map(scoring.normalize(spoilt), (32, 24), untiled)[0]
    row, column = divmod(int(anomaly_map.argmax()), 24)
    assert (row < 10, column < 10) == (True, True)


def test_an_image_alone_is_as_in_a_batch(scoring, held_out):
    alone = [score(scoring, [m[i : i + 1] for m in held_out]) for i in range(N)]
    torch.testing.assert_close(torch.cat(alone), score(scoring, held_out))


def test_a_checkpoint_brings_what_was_learnt(make, scoring, held_out):
    other, stream = make(), io.BytesIO()
    by_grids = scoring.fusion == "spread" and len(held_out) > 1
    assert set(scoring.state_dict()) == {"expected", *["shares"] * by_grids}  # as they are stored
    torch.save(scoring.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    torch.testing.assert_close(score(other, held_out), score(scoring, held_out), rtol=0, atol=0)


def test_a_second_fit_forgets_the_first(make, scoring, held_out):
    again = make()
    again.fit([3 + 2 * m.flip(2) for m in held_out])
    again.fit(held_out)
    torch.testing.assert_close(score(again, held_out), score(scoring, held_out), rtol=0, atol=0)
