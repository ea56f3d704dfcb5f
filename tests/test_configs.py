"""Configuration and code are one to one."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import OmegaConf

from fre_lightning import backbones, datasets, reducers, scoring
from fre_lightning.backbones import Backbone
from fre_lightning.config import CONFIG_DIR
from fre_lightning.datasets import AnomalyDataset
from fre_lightning.reducers import Reducer
from fre_lightning.scoring import Scoring
from tests.configs import compose_config, names

OWN_GROUPS = ("model", "reducer", "dataset", "scoring")
GROUPS = (*OWN_GROUPS, "trainer", "logger", "callbacks")
CHOICES = [(group, name) for group in GROUPS for name in names(group)]
OOD_GROUPS = ("classifier", "known", "unknown")  # of configs/ood.yaml
OOD_CHOICES = [(group, name) for group in OOD_GROUPS for name in names(group)]
FILES = [
    *(("", "config"), ("", "ood"), *CHOICES, *OOD_CHOICES),
    *((group, name) for group in ("hydra", "hydra/launcher") for name in names(group)),
]
PATHS = sorted(path for group in OWN_GROUPS for path in (CONFIG_DIR / group).glob("*.yaml"))
BASES = {backbones: Backbone, datasets: AnomalyDataset, reducers: Reducer, scoring: Scoring}
INJECTED = {"datamodule": {"dataset"}, "classifier": {"n_classes"}}  # by code, beside a node's keys


def find_nodes(content: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All nodes with a `_target_`, each with its place, such as `datamodule`."""
    if isinstance(content, dict):
        if "_target_" in content:
            yield place, content
        for key, value in content.items():
            yield from find_nodes(value, f"{place}.{key}".lstrip("."))


def nodes_of(group: str, name: str) -> dict[str, dict[str, Any]]:
    """The nodes of a file of a group, by their places; those of config.yaml without a group."""
    if group.startswith("hydra"):
        content = OmegaConf.to_container(OmegaConf.load(CONFIG_DIR / group / f"{name}.yaml"))
        return dict(find_nodes(content, group))
    override = [f"{group}={name}"] if group else []
    primary = "ood" if "ood" in (group, name) or group in OOD_GROUPS else "config"
    content = OmegaConf.to_container(compose_config(*override, primary=primary))
    found = dict(find_nodes(content, ""))
    if not group:
        groups = {*GROUPS, *OOD_GROUPS}
        return {place: node for place, node in found.items() if place not in groups}
    return {place: node for place, node in found.items() if place.split(".")[0] == group}


@pytest.mark.parametrize(("group", "name"), FILES)
def test_yaml_keys_are_constructor_parameters(group, name):
    for place, node in nodes_of(group, name).items():
        if group == "hydra/launcher":
            pytest.importorskip(node["_target_"].rpartition(".")[0])
        kind = get_class(node["_target_"])
        parameters = dict(inspect.signature(kind).parameters)
        keys = node.keys() - {"_target_"} | INJECTED.get(place, set())
        if group == "hydra/launcher" and "ray" not in parameters:  # plugins' schemas have the keys
            continue
        assert keys <= parameters.keys(), place
        needed = {p for p, value in parameters.items() if value.default is value.empty}
        variable = {"args", "kwargs"}
        assert needed - variable <= keys, place
        if kind.__module__.startswith("fre_lightning."):
            # No default in the code, where the YAML has the value.
            assert needed == keys == parameters.keys(), place


def test_every_node_of_every_file_is_covered():
    """Each `_target_` that stands in a file is a node of the test above."""
    covered = {node["_target_"] for group, name in FILES for node in nodes_of(group, name).values()}
    stand = {
        re.match(r"[\w.]+", line.split("_target_:")[1].strip())[0]
        for path in CONFIG_DIR.rglob("*.yaml")
        for line in path.read_text().splitlines()
        if "_target_:" in line
    }
    assert stand == covered
    assert len(stand) >= 15


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_fits_on_a_screen(path):
    assert len(path.read_text().splitlines()) <= 25


@pytest.mark.parametrize("package", BASES, ids=lambda package: package.__name__)
def test_every_class_has_a_yaml(package):
    public = [getattr(package, name) for name in package.__all__]
    concrete = {
        kind
        for kind in public
        if inspect.isclass(kind)
        and issubclass(kind, BASES[package])
        and not inspect.isabstract(kind)
    }
    targets = {
        get_class(node["_target_"])
        for path in PATHS
        for _, node in find_nodes(OmegaConf.to_container(OmegaConf.load(path)), "")
    }
    assert concrete
    assert concrete - targets == set()


@pytest.mark.parametrize(("group", "name"), OOD_CHOICES)
def test_every_choice_of_classifiers_composes(group, name):
    assert compose_config(f"{group}={name}", primary="ood").decide_by == "fre_by_class"


@pytest.mark.parametrize(
    ("group", "name"),
    [*CHOICES, *((group, name) for group in ("experiment", "debug") for name in names(group))],
)
def test_every_choice_composes(group, name, tmp_path):
    assert compose_config(f"{group}={name}", f"paths.output_dir={tmp_path}").seed == 0


@pytest.mark.parametrize("name", names("hydra/launcher"))
def test_every_launcher_composes_with_an_experiment(name):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        overrides = ["experiment=mvtec", f"hydra/launcher={name}", "hydra.sweep.dir=sweep"]
        hydra = compose("config", overrides, return_hydra_config=True).hydra
    ours = OmegaConf.load(CONFIG_DIR / f"hydra/launcher/{name}.yaml")
    for key, value in OmegaConf.to_container(ours).items():
        composed = OmegaConf.to_container(hydra.launcher)[key]
        assert str(composed) == str(value), key  # a plugin's schema may make text of a number
    assert (hydra.mode.name, hydra.sweeper.params.reducer) == ("MULTIRUN", "pca,tae,ae")


def test_paper_scoring_is_the_published_procedure_in_one_word():
    cfg = compose_config("scoring=paper")
    assert (cfg.model.name, cfg.model.layers) == ("efficientnet_b5", "features.6")
    assert (cfg.model.pool, cfg.model.image_size) == (2, 456)
    assert (cfg.dataset.root, cfg.reducer.n_components) == ("mvtec", 0.97)
    for name in ("resnet18", "resnet50", "wide_resnet50_2"):
        model = compose_config(f"model={name}", "scoring=paper").model
        assert (model.layers, model.pool, model.image_size) == ("layer3", 2, 256)
    for name in ("ae", "tae"):
        reducer = compose_config(f"reducer={name}").reducer
        assert (reducer.epochs, reducer.lr, reducer.batch_size) == (250, 1e-3, 64)


def test_the_published_experiment_covers_all_categories():
    sweep = OmegaConf.load(CONFIG_DIR / "experiment/mvtec.yaml").hydra.sweeper.params
    assert len(sweep["dataset.category"].split(",")) == 15
    assert sweep["reducer"] == "pca,tae,ae"


@pytest.mark.parametrize(("name", "n_categories"), [("btad", 3), ("visa", 12)])
def test_other_sets_are_swept_as_the_published_one(name, n_categories):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("config", [f"experiment={name}"], return_hydra_config=True)
    sweep = cfg.hydra.sweeper.params
    assert (cfg.hydra.mode.name, sweep["reducer"]) == ("MULTIRUN", "pca,tae,ae")
    assert len(sweep["dataset.category"].split(",")) == n_categories
    choices = cfg.hydra.runtime.choices
    assert (choices.dataset, choices.model, choices.scoring) == (name, "efficientnet_b5", "paper")
