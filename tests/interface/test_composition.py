from pathlib import Path

import pytest
from omegaconf import OmegaConf

import fre_lightning
from fre_lightning.errors import ConfigError
from fre_lightning.interface.composition import compose_settings
from tests.configs import compose_config


def test_words_give_what_the_command_line_gives():
    words = ("model=resnet18", "scoring=paper", "seed=3", "model.weights=a (1).pth")
    mended = (*words[:-1], "model.weights='a (1).pth'")
    assert fre_lightning.compose(*words) == compose_config(*mended)


def test_keyword_arguments_give_what_words_give():
    settings = {
        "model": "resnet18",
        "scoring": "paper",
        "reducer": {"n_components": 0.9},
        "tiling": {"grid": (2, 2), "shared": True},
        "model.weights": Path("weights.pth"),
        "dataset": {"intensity": {"percentile": [1, 99]}},
    }
    words = (
        "model=resnet18",
        "scoring=paper",
        "reducer.n_components=0.9",
        "tiling.grid=[2,2]",
        "tiling.shared=true",
        "model.weights=weights.pth",
        "dataset.intensity={percentile:[1,99]}",
    )
    assert compose_settings(settings) == compose_config(*words)
    assert compose_settings({"model": "vgg16"}, settings) == compose_config(*words)
    assert compose_settings(settings, {"seed": 1}) == compose_config(*words, "seed=1")


def test_text_is_text():
    cfg = compose_settings({"dataset": "folder", "dataset.root": "${seed}, or [a: 'b']"})
    assert cfg.dataset.root == "${seed}, or [a: 'b']"
    assert OmegaConf.to_container(cfg.dataset, resolve=True)["root"] == cfg.dataset.root


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sead": 1}, "sead is not a setting. Did you mean seed"),
        (
            {"model": {"image_sise": 3}},
            "model.image_sise is not a setting. Did you mean image_size",
        ),
        ({"model.image_sise": 3}, "model.image_sise is not a setting. Did you mean image_size"),
        ({"seed.low": 3}, "seed.low"),
        ({"model": "resnet81"}, "model/resnet81' Available options in 'model': efficientnet_b5"),
        ({"seed": object()}, "seed=<object"),
    ],
)
def test_a_mistake_is_told_in_a_paragraph(settings, words):
    with pytest.raises(ConfigError) as caught:
        compose_settings(settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_word_that_is_none():
    for word in ("seed", "seed=[", "sead=1"):
        with pytest.raises(ConfigError):
            fre_lightning.compose(word)
