"""Configuration and code are one to one."""

import inspect
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import OmegaConf

from fre_lightning import backbones, datasets, reducers
from fre_lightning.backbones import Backbone
from fre_lightning.config import CONFIG_DIR
from fre_lightning.datasets import AnomalyDataset
from fre_lightning.reducers import Reducer
from fre_lightning.scoring import Scoring
from fre_lightning.scoring import rule as scoring

OWN_GROUPS = ("model", "reducer", "dataset", "scoring")
PATHS = sorted(path for group in OWN_GROUPS for path in (CONFIG_DIR / group).glob("*.yaml"))
BASES = {backbones: Backbone, datasets: AnomalyDataset, reducers: Reducer, scoring: Scoring}


def stems(group: str) -> list[str]:
    return [path.stem for path in sorted((CONFIG_DIR / group).glob("*.yaml"))]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_yaml_keys_are_constructor_parameters_without_defaults(path: Path):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("config", [f"{path.parent.name}={path.stem}"])[path.parent.name]
    parameters = dict(inspect.signature(get_class(config._target_).__init__).parameters)
    parameters.pop("self")
    named = {name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert named == set(config) - {"_target_"}
    assert all(parameters[name].default is inspect.Parameter.empty for name in named)
    assert len(path.read_text().splitlines()) <= 25


@pytest.mark.parametrize("package", BASES, ids=lambda package: package.__name__)
def test_every_class_has_a_yaml(package):
    names = getattr(package, "__all__", vars(package))
    public = [getattr(package, name) for name in names]
    concrete = {
        kind
        for kind in public
        if inspect.isclass(kind)
        and issubclass(kind, BASES[package])
        and not inspect.isabstract(kind)
    }
    targets = {
        get_class(content._target_)
        for content in map(OmegaConf.load, PATHS)
        if "_target_" in content
    }
    assert concrete - targets == set()


@pytest.mark.parametrize(
    "override",
    [
        f"{group}={stem}"
        for group in (*OWN_GROUPS, "trainer", "logger", "callbacks", "experiment", "debug")
        for stem in stems(group)
    ],
)
def test_every_choice_composes(override, tmp_path):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("config", [override, f"paths.output_dir={tmp_path}"])
    assert cfg.seed == 0


def test_paper_scoring_is_the_published_procedure_in_one_word():
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("config", ["scoring=paper"])
    assert (cfg.model.name, cfg.model.layers) == ("efficientnet_b5", "features.6")
    assert (cfg.model.pool, cfg.model.image_size) == (2, 456)
    assert (cfg.dataset.root, cfg.reducer.n_components) == ("mvtec", 0.97)
    for name in ("resnet18", "resnet50", "wide_resnet50_2"):
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            model = compose("config", [f"model={name}", "scoring=paper"]).model
        assert (model.layers, model.pool, model.image_size) == ("layer3", 2, 256)
    for name in ("ae", "tae"):
        reducer = OmegaConf.load(CONFIG_DIR / "reducer" / f"{name}.yaml")
        assert (reducer.epochs, reducer.lr, reducer.batch_size) == (250, 1e-3, 64)


def test_the_published_experiment_covers_all_categories():
    sweep = OmegaConf.load(CONFIG_DIR / "experiment/mvtec.yaml").hydra.sweeper.params
    assert len(sweep["dataset.category"].split(",")) == 15
    assert sweep["reducer"] == "pca,tae,ae"
