import numpy as np
import pytest
import torch
from torch import nn

from fre_lightning.backbones import Scattering
from fre_lightning.detector.layer import Branch
from fre_lightning.detector.model import FREModel
from fre_lightning.errors import ExportError
from fre_lightning.export.base import cause_of
from fre_lightning.export.graph import DetectorGraph, ExportedReducer, exportable, record
from fre_lightning.export.job import FORMATS
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.standardizer import ChannelStandardizer
from fre_lightning.images.tiling import Tiling
from fre_lightning.reducers import PCA, Autoencoder
from fre_lightning.scoring import Calibration, Scoring


@pytest.mark.parametrize("kind", ["pca", "ae"])
def test_it_reconstructs_as_the_reducer_does(kind):
    rows = torch.randn(30, 50, generator=torch.Generator().manual_seed(0))
    if kind == "pca":
        reducer = PCA(0.9)
        reducer.fit(FeatureMatrix([rows.numpy()]))
    else:
        reducer = Autoencoder(8, epochs=1, lr=1e-3, batch_size=8, space="span")
        reducer.fit(FeatureMatrix([rows.numpy()]))
        reducer.training_epoch()
        reducer.finish()
    expected = reducer(rows)
    torch.testing.assert_close(ExportedReducer(reducer, torch.float32)(rows), expected)
    half = ExportedReducer(reducer, torch.float16)
    assert half.encoder.dtype == torch.float16
    assert 0 < (half(rows) - expected).norm() < 1e-3 * expected.norm()


ONE, FOUR = [1, 1], [2, 2]
TILINGS = [
    ([1, 3], 0.125, True, ONE, False),
    (ONE, 0.0, False, FOUR, False),
    *(
        pytest.param(tiling, marks=pytest.mark.slow)
        for tiling in (
            ([2, 1], 0.5, False, ONE, False),
            ([2, 2], 0.0, False, ONE, False),
            ([2, 2], 0.3, True, ONE, False),
            ([3, 2], 0.125, False, ONE, False),
            ([1, 3], 0.125, True, ONE, True),
            ([2, 2], 0.0, False, ONE, True),
            (ONE, 0.0, True, ONE, True),
            ([1, 3], 0.125, True, FOUR, False),
            ([2, 1], 0.0, False, [1, 2], True),
        )
    ),
]


@pytest.fixture(params=TILINGS, ids=str)
def tiled(request):
    """A fitted model of tiles or blocks, oblong ones, and images that it has not seen.

    With a region some cells count in part, and one tile not at all.
    """
    grid, overlap, shared, blocks, has_region = request.param
    backbone = Scattering("scattering", "order2", [16, 32], 2, 4, True, 0.001, 1, "cbrt")
    tiling = Tiling(grid, overlap, shared, blocks)
    reducers = [PCA(2) for _ in range(tiling.n_subspaces)]
    branch = Branch(ChannelStandardizer(backbone.compression), reducers, tiling)
    scoring = Scoring("top", "top", 0.2, 0.5, "mean", None, 0.0)
    model = FREModel(backbone, [branch], scoring, Calibration(3, "none"), tiling)
    shape = (10, 3, *model.image_size)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    with torch.inference_mode():
        (features,) = model.features_of(images[:6])
    rows = CachedRows([features.numpy()], list(range(6)), [], was_computed=True)
    region = torch.zeros(1, *model.image_size, dtype=torch.bool)
    region[:, 1:13, 10:] = True
    model.fit([rows], torch.device("cpu"), None, None, region if has_region else None)
    return model.eval(), images[6:]


def test_any_tiling_is_recorded_for_any_number_of_images(tiled):
    model, images = tiled
    program = record(DetectorGraph(exportable(model, half_reducer=False), None)).module()
    for n in (1, 3, 4):
        found = program(images[:n].permute(0, 2, 3, 1))
        for part, expected in zip(found, model(images[:n]), strict=True):
            torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_any_tiling_is_written_in_any_format(tiled, name, tmp_path):
    model, images = tiled
    graph = DetectorGraph(exportable(model, half_reducer=False), None)
    FORMATS[name].write(record(graph), tmp_path, {"outputs": ["score", "anomaly_map"]})
    exported = FORMATS[name].load(tmp_path / FORMATS[name].files[0])
    for n in (1, 3):
        found = exported(images[:n].permute(0, 2, 3, 1).contiguous().numpy())
        for part, expected in zip(found, model(images[:n]), strict=True):
            np.testing.assert_allclose(part, expected.numpy(), rtol=1e-4, atol=1e-5)


class Branching(nn.Module):
    """A model of no file format: what it computes depends on what images show."""

    intensity, image_size = None, (8, 8)

    def forward(self, images):
        levels = images.float()
        levels = levels * 2 if levels.mean() > 3 else levels
        return levels.mean(dim=(1, 2, 3)), levels.mean(dim=1)


class Looping(Branching):
    def forward(self, images):
        levels = images.float()
        for _ in range(int(levels.max())):
            levels = levels / 2
        return levels.mean(dim=(1, 2, 3)), levels.mean(dim=1)


class Choosing(Branching):
    """The same as `Branching`, as the message advises."""

    def forward(self, images):
        levels = images.float()
        levels = torch.where(levels.mean() > 3, levels * 2, levels)
        return levels.mean(dim=(1, 2, 3)), levels.mean(dim=1)


@pytest.mark.parametrize("kind", [Branching, Looping])
def test_what_cannot_be_recorded_is_told_in_a_sentence(kind, capfd):
    with pytest.raises(ExportError) as caught:
        record(DetectorGraph(kind(), None))
    text = str(caught.value)
    assert "cannot be exported in any format" in text
    assert "data-dependent" in text
    assert "torch.where or torch.cond" in text
    assert "\n" not in text
    assert capfd.readouterr() == ("", "")


def test_the_advice_of_that_sentence_holds():
    images = torch.randint(0, 9, (3, 8, 8, 3), dtype=torch.uint8)
    program = record(DetectorGraph(Choosing(), None)).module()
    for batch in (images, torch.zeros_like(images)):
        expected = Branching()(batch.permute(0, 3, 1, 2))
        for found, each in zip(program(batch), expected, strict=True):
            torch.testing.assert_close(found, each)


@pytest.mark.parametrize("line", [0, -1])
def test_the_cause_of_an_error_is_the_deepest_one(line):
    try:
        try:
            raise ValueError("- first.\n" + "middle " * 9 + "\nlast: " + 300 * "word ")
        except ValueError as inner:
            raise RuntimeError("shallow") from inner
    except RuntimeError as error:
        cause = cause_of(error, line)
    assert cause.startswith("first" if line == 0 else "last: word")
    assert len(cause) <= 200
    assert cause_of(KeyError(), 0) == "KeyError"
