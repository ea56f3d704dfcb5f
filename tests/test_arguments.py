"""Names on the command line, as Hydra reads them."""

import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fre_lightning.arguments import mend, mend_arguments
from fre_lightning.errors import ConfigError


def values(argument):
    """What Hydra reads: the value, or the values of a sweep."""
    override = OverridesParser.create().parse_override(mend(argument))
    if override.is_sweep_override():
        return [text.strip("'") for text in override.sweep_string_iterator()]
    return override.value()


NAMES = ["10", "1_1_1", "12E5", "1.10", "nan", "true", "inf", "数据", "part (1).png", "a=b.png"]
NAMES += ["it's", '"', "#1", "a&b", "!", "parts\\", "{a}", "[x].png", "k\udce4.png", "a  b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["dataset.root", "dataset.category", "input", "paths.cache_dir"])
def test_any_text_is_a_name_where_a_name_is_asked_for(key, name):
    assert values(f"{key}={name}") == name


@pytest.mark.parametrize(
    ("argument", "read"),
    [
        ("dataset.category=10,1.10", ["10", "1.10"]),
        ("dataset.root=Stücke,'a,b'", ["Stücke", "a,b"]),
        ("dataset.category=choice(a,b)", ["a", "b"]),
        ("tags=[1.10, x,'2']", ["1.10", "x", "2"]),
        ("dataset.defect_dirs=[1,Löcher]", ["1", "Löcher"]),
        ("dataset.category='a b'", "a b"),
        ("input=a\\,b", "a,b"),
        ("dataset.category=null", None),
        ("input=null", "null"),
        ("dataset.root=${paths.data_dir}/x", "${paths.data_dir}/x"),
        ("scoring.weights=[1,2]", [1, 2]),
        ("seed=10", 10),
    ],
)
def test_lists_sweeps_and_what_is_quoted_keep_their_meaning(argument, read):
    assert values(argument) == read


def test_commas_are_part_of_a_name_that_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert values("input=lot,1.png") == ["lot", "1.png"]
    (tmp_path / "lot,1.png").touch()
    assert values("input=lot,1.png") == "lot,1.png"


PATH_KEYS = [
    "dataset.root",
    "dataset.table",
    "dataset.image_dir",
    "dataset.good_dir",
    "dataset.defect_dirs",
    "dataset.mask_dir",
]
PATH_KEYS += ["input", "checkpoint", "ckpt_path", "images", "model.weights", "classifier.file"]
PATH_KEYS += ["paths.data_dir", "paths.cache_dir", "paths.output_dir"]
PATH_KEYS += ["hydra.run.dir", "hydra.sweep.dir"]


@pytest.mark.parametrize("key", PATH_KEYS)
def test_a_tilde_is_the_home_folder(key, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert values(f"{key}=~/parts") == "/home/me/parts"
    assert values(f"{key}='~/parts'") == "/home/me/parts"
    assert values(f"{key}=[~/a,b]") == ["/home/me/a", "b"]


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["model.name=Größe"], "\"model.name='Größe'\""),
        (["model.name=$(x)"], "'model.name="),
        (["dataset.root=my", "own", "parts"], "\"dataset.root='my own parts'\""),
        (["parts"], "parts is not a setting"),
        (["größe=1"], "größe=1 is not a setting"),
        (["input=a,b"], "-m"),
        (["input=a,b"], "\"input='a,b'\""),
    ],
)
def test_what_cannot_be_read_is_answered_with_what_to_type(arguments, advice, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fre_lightning", *arguments])
    with pytest.raises(ConfigError) as error:
        mend_arguments()
    assert advice in str(error.value)
    assert "http" not in str(error.value)
