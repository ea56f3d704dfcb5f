"""The command, as it is typed."""

import csv
import logging
import shlex
import sys

import pytest

from fre_lightning.cli import main, run_command
from fre_lightning.config import CONFIG_DIR
from tests.conftest import TINY_MODEL


@pytest.fixture
def tune(settings, tmp_path, monkeypatch, capsys):
    """Call the command: its exit code, what it says in one line, and the rows of its table."""
    handlers, level = logging.root.handlers[:], logging.root.level
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        folder = f"hydra.run.dir={tmp_path / 'out'}"
        monkeypatch.setattr(sys, "argv", ["tune", *settings, folder, *arguments])
        try:
            run_command("tune", "fre_lightning.tune.job")
            code = 0
        except SystemExit as stop:
            code = stop.code
        path, rows = tmp_path / "out/tune.csv", []
        if path.exists():
            with path.open() as stream:
                rows = list(csv.DictReader(stream))
        return code, " ".join("".join(capsys.readouterr()).split()), rows

    yield call
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_candidates_are_ranked_and_those_that_fail_are_listed(tune, monkeypatch, tmp_path):
    tiny = "model=scattering model.n_scales=1 model.image_size"
    failing = "model=resnet18 model.weights=nowhere.pth"
    candidates = [f"{tiny}=32", f"{tiny}=[32,48]", f"{tiny}=-1", failing, "model=nothing"]
    quoted = ",".join(f"'{candidate}'" for candidate in candidates)
    code, said, rows = tune(f"tune.candidates=[{quoted}]", "tune.criterion=defects")
    assert code == 0
    assert {row["candidate"] for row in rows} == {*candidates}
    assert [row["rank"] for row in rows] == ["1", "2", "", "", ""]
    good = rows[:2]
    assert float(good[0]["defects_auroc"]) >= float(good[1]["defects_auroc"])
    assert all(0 < float(row["spread"]) < 1 and not row["error"] for row in good)
    errors = {row["candidate"]: row["error"] for row in rows[2:]}
    assert "positive" in errors[f"{tiny}=-1"]
    assert "nowhere.pth" in errors[failing]
    assert "nothing" in errors["model=nothing"]
    assert all(errors.values())

    command = said.partition("Fit the first: ")[2]
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "fre_lightning"]
    assert words[-3:] == rows[0]["candidate"].split()
    assert not any(word.startswith("tune.") for word in words)
    folder = f"hydra.run.dir={tmp_path / 'best'}"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["x", *words[3:], "logger=none", "report=false", folder])
        main()
    assert (tmp_path / "best/model.ckpt").is_file()


def test_the_help_has_every_setting(tune):
    said = tune("--help")[1]
    for line in (CONFIG_DIR / "tune.yaml").read_text().partition("tune:")[2].splitlines():
        assert " ".join(line.split()) in said


def test_a_list_needs_no_quotes_within(tune):
    code, _, rows = tune(*TINY_MODEL, "tune.candidates=[model.n_scales=1 seed=1,model.n_scales=2]")
    assert code == 0
    assert {row["candidate"] for row in rows} == {"model.n_scales=1 seed=1", "model.n_scales=2"}


def test_lists_in_brackets_are_printed(tune):
    settings = "model.layers=[order2_half,order2] model.n_scales=1 model.pool=1"
    code, said, _ = tune(*TINY_MODEL, f"tune.candidates=['{settings}']")
    assert code == 0
    command = said.partition("Fit the first: ")[2]
    assert shlex.split(command)[-3:] == settings.split()


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("tune.criterion=auroc", "choose one of spread, defects, both"),
        ("tune.candidates=[model=nothing]", "No candidate could be tried"),
        ("tune.candidates=[]", "No candidate could be tried"),
        ("dataset.category=prat", "No candidate could be tried"),
        ("checkpoint=x", "leave checkpoint= out"),
    ],
)
def test_mistakes(tune, argument, words):
    code, said, _ = tune(*TINY_MODEL, "tune.candidates=[model.n_scales=1]", argument)
    assert code == 2
    assert words in said
    assert "Traceback" not in said
