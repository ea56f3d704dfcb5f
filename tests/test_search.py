"""The search: what it draws, what becomes of studies that are stopped, and what it prints."""

import importlib.util
import logging
import shlex
import sys
from pathlib import Path

import pytest
import yaml
from hydra import initialize_config_dir

from fre_lightning.cli import main
from fre_lightning.config import CONFIG_DIR, build
from fre_lightning.tune.candidates import compose_candidate
from fre_lightning.tune.trial import Trial, run_trial
from tests.conftest import TINY_MODEL

optuna = pytest.importorskip("optuna")

SCRIPT = Path(__file__).parents[1] / "scripts/search.py"
SPACE = {
    "both": ["model.n_scales=1 model.layers=[order2]", "model.n_scales=2 model.layers=[order2]"],
    "reducer.n_components": {"low": 0.5, "high": 0.99},
    "scoring.top_fraction": {"low": 0.01, "high": 0.5, "log": True},
    "scoring.position_norm": [None, 0.5],
    "calibration.n_folds": {"low": 2, "high": 4},
}


def load_script():
    spec = importlib.util.spec_from_file_location("search", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script():
    return load_script()


@pytest.fixture
def search(script, settings, tmp_path, monkeypatch, capsys):
    """Call the script: its exit code, and what it says in one line."""
    monkeypatch.setenv("COLUMNS", "300")
    # Handlers that commands of earlier tests left would tell that their streams are closed.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))

    def call(*arguments, study="a.journal", space=tmp_path / "space.yaml"):
        options = [f"--study={tmp_path / study}", f"--space={space}", *TINY_MODEL, *settings]
        monkeypatch.setattr(sys, "argv", ["search.py", *options, *arguments])
        try:
            code = script.main()
        except SystemExit as stop:
            code = stop.code
        return code, " ".join("".join(capsys.readouterr()).split())

    return call


@pytest.fixture
def trials(tmp_path):
    """The trials in a study's file."""

    def read(study="a.journal"):
        file = optuna.storages.journal.JournalFileBackend(str(tmp_path / study))
        storage = optuna.storages.JournalStorage(file)
        return optuna.load_study(study_name="search", storage=storage).trials

    return read


@pytest.fixture
def drawn(script, monkeypatch):
    """What was tried; the fewer components, the less is seen and the lower is the spread."""
    tried = []

    def judge(candidate):
        tried.append(candidate)
        return Trial(share(candidate), share(candidate) ** 2, 1.0)

    monkeypatch.setattr(script, "compose_candidate", lambda _, candidate: candidate)
    monkeypatch.setattr(script, "start", lambda _: None)
    monkeypatch.setattr(script, "run_trial", judge)
    return tried


def share(candidate):
    return float(candidate.partition("reducer.n_components=")[2].split()[0])


def fitted(said):
    return " ".join(shlex.split(said.partition("Fit the first: ")[2]))


def test_trials_are_those_of_tune_and_the_first_can_be_fitted(
    search, trials, settings, tmp_path, monkeypatch
):
    code, said = search("--n-trials=2", "tune.n_folds=2")
    assert code == 0
    best = max(trials(), key=lambda trial: trial.value)
    typed = [*TINY_MODEL, *settings, "tune.n_folds=2", f"paths.output_dir={tmp_path}"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose_candidate(typed, best.user_attrs["candidate"])
    assert best.value == pytest.approx(run_trial(cfg).auroc, abs=1e-6)

    words = fitted(said).split()
    assert words[:3] == ["python", "-m", "fre_lightning"]
    assert fitted(said).endswith(best.user_attrs["candidate"])
    folder = f"hydra.run.dir={tmp_path / 'best'}"
    monkeypatch.setattr(sys, "argv", ["x", *words[3:], "logger=none", "report=false", folder])
    main()
    assert (tmp_path / "best/model.ckpt").is_file()


def test_what_was_stopped_goes_on_as_if_it_had_not_been(search, drawn):
    search("--n-trials=12", study="whole.journal")
    whole = drawn[:]
    drawn.clear()
    assert search("--n-trials=5")[0] == 0
    assert search("--n-trials=12")[0] == 0
    assert drawn == whole
    assert len({*whole}) == 12
    said = search("--n-trials=12")[1]
    assert len(drawn) == 12
    assert fitted(said).endswith(max(drawn, key=share))


def test_another_seed_draws_others(search, drawn):
    search("--n-trials=3", study="first.journal")
    search("--n-trials=3", "--seed=1", study="second.journal")
    assert len({*drawn}) == 6


def test_killed_trials_do_not_count(search, trials, script, monkeypatch):
    def stop(_):
        raise SystemExit(143)

    monkeypatch.setattr(script, "run_trial", stop)
    assert search("--n-trials=2")[0] == 143
    monkeypatch.setattr(script, "run_trial", lambda _: Trial(0.1, 0.5, 1.0))
    assert search("--n-trials=2")[0] == 0
    assert [trial.state.name for trial in trials()] == ["RUNNING", "COMPLETE", "COMPLETE"]


def test_failed_trials_count_and_are_named(search, trials, script, monkeypatch):
    def fail_at_one(cfg):
        if cfg.model.n_scales == 1:
            raise ValueError("one is too few")
        return Trial(0.1, 0.5, 1.0)

    monkeypatch.setattr(script, "run_trial", fail_at_one)
    code, said = search("--n-trials=8")
    assert code == 0
    states = [trial.state.name for trial in trials()]
    assert said.count("failed: ValueError: one is too few") == states.count("FAIL") > 0
    assert states.count("FAIL") + states.count("COMPLETE") == 8


def test_by_spread_the_lowest_is_first_and_improves(search, drawn):
    said = search("--n-trials=20", "--criterion=spread")[1]
    assert fitted(said).endswith(min(drawn, key=share))
    shares = [*map(share, drawn)]
    assert sum(shares[15:]) / 5 < sum(shares[:10]) / 10 - 0.05


def test_studies_of_something_else_are_refused(search, drawn, tmp_path):
    search("--n-trials=1")
    for other in ("seed=1", "--criterion=spread"):
        code, said = search("--n-trials=2", other)
        assert (code, len(drawn)) == (2, 1)
        assert "a.journal is a study of another space or other settings" in said
    (tmp_path / "words.journal").write_text("no journal\nat all\n")
    code, said = search(study="words.journal")
    assert code == 2
    assert "words.journal cannot be used" in said


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", "a: 1", "a: []", "a: {low: 1}", "a: {low: 2, high: 1}", "a: [1", "a:"]
)
def test_spaces_that_are_none(search, drawn, tmp_path, text):
    (tmp_path / "wrong.yaml").write_text(text)
    code, said = search(space=tmp_path / "wrong.yaml")
    assert (code, drawn) == (2, [])
    assert "wrong.yaml is no space to search" in said
    assert "no-such.yaml" in search(space=tmp_path / "no-such.yaml")[1]


def test_mistakes_in_the_settings_are_told(search):
    code, said = search("--n-trials=1", "model=nothing")
    assert code == 2
    assert "nothing" in said
    assert "No trial succeeded" in said
    assert "Traceback" not in said


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit, match=r"fre-lightning\[search\]"):
        load_script()


def test_the_space_beside_the_script_is_one_of_resnet18(script, settings):
    space = script.read_space(SCRIPT.with_suffix(".yaml"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    typed = ["model=resnet18", "model.weights=random", "model.image_size=32", *settings]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        default = compose_candidate(typed, "")
        for choice in space["features"]:
            study.enqueue_trial({"features": choice})
            cfg = compose_candidate(typed, script.draw(study.ask(), space))
            assert build(cfg.model).layers
            build(cfg.scoring)
    assert f"[{','.join(default.model.layers)}]" in " ".join(space["features"])
