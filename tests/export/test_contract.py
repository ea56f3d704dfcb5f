"""What every file format must do: each one of the registry is tested."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from fre_lightning.errors import ConfigError
from fre_lightning.export.job import FORMATS

SIZE = 12
ABOUT = {"threshold": 0.25, "words": "as-nothing-else-would-be"}
ABOUT["outputs"] = {"score": {}, "anomaly_map": {}}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class Small(nn.Module):
    """Something like a detector: scores `(N,)` and maps `(N, h, w)` of `(N, H, W, 3)` bytes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images):
        maps = self.convolution(images.permute(0, 3, 1, 2).float() / 255).square().sum(dim=1)
        return maps.flatten(1).topk(5, dim=1).values.mean(dim=1), maps


@pytest.fixture(scope="module")
def network():
    return Small().eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module", params=FORMATS)
def written(request, network, tmp_path_factory):
    """A format, and the folder that it wrote the network into."""
    file_format, folder = FORMATS[request.param], tmp_path_factory.mktemp(request.param)
    for package in file_format.packages:
        pytest.importorskip(package)
    example = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: Dim("n")},))
    file_format.write(program.run_decompositions(), folder, ABOUT)
    return file_format, folder


def test_it_is_called_by_its_name():
    assert [file_format.name for file_format in FORMATS.values()] == [*FORMATS]


def test_it_writes_its_files_and_no_others(written):
    file_format, folder = written
    assert sorted(path.name for path in folder.iterdir()) == sorted(file_format.files)


def test_scores_and_maps_are_pytorchs(written, network):
    file_format, folder = written
    run = file_format.load(folder / file_format.files[0])
    for n in (1, 3):
        images = np.random.default_rng(n).integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)
        scores, anomaly_maps = run(images)
        expected_scores, expected_maps = network(torch.from_numpy(images))
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)
        np.testing.assert_allclose(anomaly_maps, expected_maps, rtol=1e-4, atol=1e-6)
        assert scores.dtype == anomaly_maps.dtype == np.float32


def test_the_description_is_in_a_file(written):
    file_format, folder = written
    content = b"".join((folder / name).read_bytes() for name in file_format.files)
    for word in ("fre_lightning", *ABOUT, ABOUT["words"]):
        assert word.encode() in content


@pytest.mark.parametrize("name", FORMATS)
def test_packages_that_are_missing_are_named(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    FORMATS[name].check_installed()
    for missing in FORMATS[name].packages:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda asked, gone=missing: asked != gone or None
        )
        with pytest.raises(ConfigError, match=rf"format={name} needs {missing}: `pip install"):
            FORMATS[name].check_installed()
