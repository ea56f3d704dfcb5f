"""What processes do together, in three real ones; alone, a process is all of them."""

from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from fre_lightning import collective
from fre_lightning.errors import DatasetError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import PCA, Autoencoder, TiedAutoencoder
from fre_lightning.reducers.base import train
from fre_lightning.reducers.cross_fit import draw_folds, held_out_errors
from fre_lightning.reducers.krylov import KrylovSubspace

N_PROCESSES = 3


def test_alone_a_process_has_everything():
    tensor = torch.arange(3.0)
    assert collective.n_processes() == 1
    assert collective.share([1, 2, 3]) == [1, 2, 3]
    assert collective.add_up(tensor) is tensor
    assert collective.gather("a") == ["a"]
    assert collective.from_first(lambda: 5) == 5


@pytest.mark.parametrize("n_items", [0, 1, 2, 3, 10, 128])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_parts_are_the_items_again(monkeypatch, n_items, n):
    monkeypatch.setattr(collective, "n_processes", lambda: n)
    parts = []
    for rank in range(n):
        monkeypatch.setattr(collective, "rank", lambda rank=rank: rank)
        parts.append(collective.share(range(n_items)))
    assert [item for part in parts for item in part] == list(range(n_items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def _features(n_rows, n_columns):
    generator = torch.Generator().manual_seed(0)
    scales = 0.9 ** torch.arange(n_columns)
    features = torch.randn(n_rows, n_columns, generator=generator) * scales + 1
    return FeatureMatrix([features[:7].numpy(), features[7:].numpy()], block_bytes=2000)


def _fit(reducer, n_rows, n_columns):
    """The reconstruction of the features, and held-out errors."""
    features = _features(n_rows, n_columns)
    torch.manual_seed(0)
    subspace = reducer.fit(features)
    train(reducer)
    groups = torch.arange(n_columns) % 4
    held_out = held_out_errors(subspace, 0.9, groups, draw_folds(n_rows, 4))
    return reducer(features.block(slice(None))), held_out


def _krylov():
    features, folds = _features(60, 50), draw_folds(60, 4)
    subspace = KrylovSubspace.of(features, torch.device("cpu"), 0.9)
    held_out = held_out_errors(subspace, 0.9, torch.arange(50) % 4, folds)
    return subspace.variances, subspace.coordinates().square(), held_out


SETTINGS = {"epochs": 30, "lr": 1e-2, "batch_size": 16, "space": "span"}

FITS = {
    "pca, few images": lambda: _fit(PCA(0.9), 40, 60),
    "pca, many images": lambda: _fit(PCA(0.9), 90, 20),
    "pca, by held-out images": lambda: _fit(PCA("held_out"), 40, 60),
    "tae": lambda: _fit(TiedAutoencoder(0.9, **SETTINGS), 40, 60),
    "ae, many images": lambda: _fit(Autoencoder(0.9, **SETTINGS), 90, 20),
    "more of both": _krylov,
}


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=N_PROCESSES)
    found = {name: fit() for name, fit in FITS.items()}
    found["sum"] = collective.add_up(torch.tensor([rank, 1.0]))
    found["gathered"] = collective.gather(rank)
    found["from first"] = collective.from_first(lambda: rank + 10)
    found["tensors"] = collective.tensors_from_first(
        lambda: (torch.full((2,), rank), torch.ones(1, 3).double()), torch.device("cpu")
    )
    try:
        with collective.together():
            if rank == 1:
                raise DatasetError("of the second")
    except DatasetError as error:
        found["error"] = str(error)
    torch.save(found, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(_work, (str(folder),), nprocs=N_PROCESSES)
    return [torch.load(folder / f"{rank}.pt") for rank in range(N_PROCESSES)]


@pytest.mark.slow
def test_three_processes_meet(found):
    for values in found:
        assert values["sum"].tolist() == [3, 3]
        assert values["gathered"] == [0, 1, 2]
        assert values["from first"] == 10
        assert values["tensors"][0].tolist() == [0, 0]
        assert values["tensors"][1].dtype == torch.float64
        assert values["error"] == "of the second"


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
def test_fits_are_those_of_one_process(found, name):
    for here, *others in zip(FITS[name](), *(values[name] for values in found), strict=True):
        for other in others:
            assert torch.equal(other, others[0])
            torch.testing.assert_close(other, here, rtol=1e-4, atol=1e-5)
