"""A trial, against runs on folders that hold what it learns and judges."""

import csv
from statistics import fmean

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

import fre_lightning
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import DatasetError
from fre_lightning.experiment import run
from fre_lightning.images.pasted_defects import PastedDefects
from fre_lightning.tune.trial import draw_folds, run_trial
from tests.conftest import TINY_MODEL


@pytest.fixture
def make_trial(settings):
    """The configuration of a trial."""

    def make(*overrides, model=TINY_MODEL):
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return compose(
                "tune",
                [*model, *settings, "paths.output_dir=x", "tune.n_folds=2", *overrides],
            )

    return make


def test_a_trial_is_as_runs_on_parts_of_the_training_set(
    make_trial, make_config, mvtec, tmp_path, monkeypatch
):
    trial = run_trial(make_trial("tune.kinds=[piece,spot,scratch]"))
    paths = sorted((mvtec / "part/train/good").iterdir())
    turns = [PastedDefects(paths, turn) for turn in range(2)]
    aurocs, spreads = [], []
    for fold, (learnt, judged) in enumerate([(paths[8:], paths[:8]), (paths[:8], paths[8:])]):
        root = tmp_path / f"fold{fold}/part"
        for path in learnt:
            save(read(path), root / "train/good" / path.name)
        for path in judged:
            save(read(path), root / "test/good" / path.name)
            for number, turn in enumerate(turns):
                kind = turn.kind(path)
                save(turn(path, (32, 32)), root / "test" / kind / f"{number}-{path.name}")
        run(make_config(f"dataset.root={root.parent}", "report=false"))
        with (tmp_path / "run/defect_types.csv").open() as stream:
            aurocs.append(fmean(float(row["image_auroc"]) for row in csv.DictReader(stream)))
        scores = fre_lightning.load(tmp_path / "run", device="cpu").normal_scores
        spreads.append(float(scores.std() / scores.mean()))
    assert trial.auroc == pytest.approx(fmean(aurocs), abs=1e-6)
    assert trial.spread == pytest.approx(fmean(spreads), rel=1e-4)


def read(path):
    return torch.from_numpy(np.array(Image.open(path)))[None]


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[0].numpy()).save(path)


def test_the_test_set_is_never_opened(make_trial, mvtec):
    trial = run_trial(make_trial())
    for path in mvtec.glob("part/test/*/*.png"):
        path.write_bytes(b"broken")
    assert run_trial(make_trial())[:2] == trial[:2]


def test_an_autoencoder_is_trained_for_each_fold(make_trial):
    pca, tied = (run_trial(make_trial(*o)) for o in ([], ["reducer=tae", "reducer.epochs=2"]))
    assert tied.auroc != pca.auroc


@pytest.mark.slow
def test_a_network_is_tried_whatever_its_engine(make_trial):
    network = ["model=resnet18", "model.weights=random", "model.image_size=64"]
    eager, openvino = (
        run_trial(make_trial(f"model.engine={e}", model=network)) for e in ("eager", "openvino")
    )
    assert openvino[:2] == pytest.approx(eager[:2], rel=1e-3)


def test_oblong_images_are_tried_at_the_size_of_a_run(make_trial, mvtec):
    for path in mvtec.rglob("*.png"):
        Image.open(path).resize((96, 32)).save(path)
    keep, same, square = (
        run_trial(make_trial(setting))
        for setting in ("aspect=keep", "model.image_size=[16,56]", "aspect=square")
    )
    assert keep[:2] == same[:2]
    assert keep.spread != square.spread


def test_regions_and_groups(make_trial, mvtec, tmp_path):
    region = torch.zeros(1, 32, 32, dtype=torch.uint8)
    region[:, 8:] = 255
    for path in (mvtec / "part/train/good").iterdir():
        save(region, tmp_path / "regions/part/train/good" / path.name)
    for path in mvtec.glob("part/test/*/*.png"):
        save(region, tmp_path / "regions/part/test" / path.parent.name / path.name)
    save(region, tmp_path / "region.png")
    groups = r"calibration.groups='(\d)\.png'"
    each, one = (
        run_trial(make_trial(groups, f"dataset.roi={tmp_path / 'region'}{end}"))
        for end in ("s", ".png")
    )
    assert each[:2] == pytest.approx(one[:2], rel=1e-3)


def test_folds_are_images_in_a_row_or_whole_groups():
    assert [f.nonzero()[:, 0].tolist() for f in draw_folds(9, 2)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8]]
    groups = torch.tensor([0, 1, 0, 1, 2, 2, 2, 2])
    first, second = draw_folds(8, 2, groups)
    assert not (first & second).any()
    assert (first | second).all()
    assert {tuple(f[groups == g].unique().tolist()) for f in (first, second) for g in range(3)} == {
        (True,),
        (False,),
    }
    with pytest.raises(DatasetError, match="at least 8"):
        draw_folds(7, 2)
    with pytest.raises(DatasetError, match="two groups"):
        draw_folds(8, 2, torch.zeros(8, dtype=torch.long))
