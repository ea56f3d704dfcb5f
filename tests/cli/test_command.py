"""The command line as a user meets it."""

import contextlib
import csv
import errno
import importlib
import re
import signal
import subprocess
import sys
import time
import tomllib
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from fre_lightning import cli
from fre_lightning.cli import run_command
from fre_lightning.config import CONFIG_DIR
from fre_lightning.report.__main__ import main as report_main
from tests.conftest import TINY_MODEL, said

PACKAGE = Path(cli.__file__).parents[1]
SCRIPTS = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.mark.parametrize("option", [["--help"], ["--cfg", "job"]])
def test_help_and_configuration_import_nothing_heavy(call, option):
    result = call(*option)
    assert result.returncode == 0
    assert "reducer" in result.stdout
    imports = "import sys, fre_lightning.cli; print('torch' in sys.modules)"
    command = [sys.executable, "-c", imports]
    heavy = subprocess.run(command, capture_output=True, text=True, check=True)
    assert heavy.stdout.strip() == "False"


def test_help_explains_every_group(call):
    text = call("--help").stdout
    for group in ("model", "reducer", "dataset", "scoring", "trainer", "experiment", "debug"):
        assert f"\n  {group} " in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_installed_command_has_help(name, monkeypatch, capsys):
    module, _, function = SCRIPTS[name].partition(":")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    code = 0
    try:
        getattr(importlib.import_module(module), function)()
    except SystemExit as stop:
        code = stop.code or 0
    assert code == 0
    command = module.removesuffix(".__main__").replace("fre_lightning.cli", "fre_lightning")
    assert f"python -m {command} " in capsys.readouterr().out


def test_every_command_is_installed():
    modules = [f"{path.parent.name}.__main__" for path in PACKAGE.glob("*/__main__.py")]
    expected = {"cli:main", "download:main", *(f"{module}:main" for module in modules)}
    assert {target.removeprefix("fre_lightning.") for target in SCRIPTS.values()} == expected


@pytest.mark.parametrize("name", ["calibrate", "export", "predict", "serve", "update"])
def test_the_help_of_a_command_has_every_setting_with_its_comment(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with contextlib.suppress(SystemExit):
        run_command(name, "")
    text = capsys.readouterr().out
    path = CONFIG_DIR / f"{name}.yaml"
    for line in path.read_text().split("\n\n", 1)[1].splitlines():
        assert line in text
    for key in set(OmegaConf.load(path)) - {"defaults", "paths"}:
        assert re.search(rf"^  {key}: .+ # .+", text, flags=re.MULTILINE)
    assert all(word in text for word in (f"fre_lightning.{name} checkpoint=", "Exit code"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["dataset.root=nowhere"], "nowhere"),
        (["dataset.category=prat"], "part"),
        (["reducer.n_components=500", "augmentation.max_images=0"], "Choose at most 15"),
        (["checkpoint=nothing.ckpt"], "There is no checkpoint"),
        (["datamodule.limit_images=1", "augmentation.max_images=0"], "at least 2"),
        (["model.compression=zip"], "choose one of"),
        (["model.image_size=[1,2,3]"], "height, width"),
        (["paths.cache_dir=/dev/null/cache"], "paths.cache_dir"),
        (["hydra.run.dir=/dev/null/run"], "hydra.run.dir"),
        (["paths.output_dir=/dev/null/run"], "paths.output_dir"),
    ],
)
def test_a_mistake_is_told_in_a_paragraph(call, settings, overrides, words):
    result = call(*TINY_MODEL, *settings, *overrides)
    assert result.returncode == 2
    assert words in said(result)
    assert "Traceback" not in said(result)


def test_an_unknown_choice_lists_those_there_are(call, settings):
    result = call(*settings, "reducer=pcb")
    assert result.returncode == 1  # Hydra's own
    assert "pca" in said(result)
    assert "Traceback" not in said(result)


def test_a_sweep_ends_with_a_table_and_keeps_what_worked(call, settings, tmp_path, mvtec):
    (mvtec / "copy").symlink_to(mvtec / "part")
    result = call(
        "-m",
        *TINY_MODEL,
        *settings,
        "dataset.category=part,broken,copy",
        "reducer=pca,tae",
        "hydra.sweep.dir=sweep",
    )
    assert result.returncode == 2
    assert "Traceback" not in said(result)
    folder = tmp_path / "cwd/sweep"
    with (folder / "results.csv").open() as stream:
        rows = {row["category"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["part", "broken", "copy", "mean"]
    ends = ["pca image_auroc_low", "pca image_auroc_high"]
    assert list(rows["part"])[1:5] == ["pca image_auroc", *ends, "pca image_aupr"]
    assert {"tae pixel_auroc", "tae pixel_aupro"} <= rows["part"].keys()
    assert rows["broken"]["pca image_auroc"] == ""
    expected = sum(float(rows[name]["tae image_auroc"]) for name in ("part", "copy")) / 2
    assert rows["mean"]["tae image_auroc"].startswith(f"{expected:.4f}")
    text = (folder / "results.md").read_text()
    assert "broken tae failed: DatasetError" in text
    assert text.startswith("| category |")
    assert said(result).count("read from the cache") >= 4
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "broken tae failed: DatasetError" in report
    assert report.count('<details class="run"') == 6
    assert report.count('loading="lazy"') == 4 * 11  # pictures of the last run, too
    assert 'href="5/report.html"' in report
    assert report_main([str(folder), "--output", str(folder / "again.html")]) == 0
    assert (folder / "again.html").read_text(encoding="utf-8") == report


def test_a_job_that_is_mended_forgets_its_error(call, settings, tmp_path, mvtec):
    sweep = ["-m", *TINY_MODEL, *settings, "reducer=pca", "hydra.sweep.dir=sweep"]
    (mvtec / "part").rename(mvtec / "away")
    assert call(*sweep).returncode == 2
    folder = tmp_path / "cwd/sweep"
    assert (folder / "0/error.json").is_file()
    assert "part failed: DatasetError" in (folder / "report.html").read_text(encoding="utf-8")
    (mvtec / "away").rename(mvtec / "part")
    assert call(*sweep).returncode == 0
    assert not (folder / "0/error.json").exists()
    assert "failed" not in (folder / "report.html").read_text(encoding="utf-8").split("<body>")[1]


@pytest.mark.slow
def test_the_ablation_is_one_command(call, settings, tmp_path):
    result = call(
        "experiment=ablation",
        *settings,
        "model.weights=random",
        "model.image_size=64",
        "layer_set=published,two",
        "scoring.position_norm=0",
        "scoring.top_fraction=0.1,1",
        "hydra.sweep.dir=sweep",
    )
    assert result.returncode == 0, said(result)
    folder = tmp_path / "cwd/sweep"
    with (folder / "results.csv").open() as stream:
        (row,) = (row for row in csv.DictReader(stream) if row["category"] == "part")
    for layers in ("published", "two"):
        for fraction in ("0.1", "1"):
            (name,) = (
                name
                for name in row
                if name.endswith("image_auroc")
                and f"layer_set={layers}" in name
                and f"top_fraction={fraction} " in name
            )
            assert 0 <= float(row[name]) <= 1
    # The second layer of `two` is new; the images of the first were not read again.
    assert said(result).count("read from the cache") >= 4


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_sweep_that_is_stopped_keeps_its_table_and_ends_with_the_signals_code(
    settings, tmp_path, number
):
    table = tmp_path / "sweep/results.csv"
    program = [sys.executable, "-m", "fre_lightning", "-m", *TINY_MODEL, *settings]
    sweep = [f"seed={','.join(map(str, range(40)))}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    process = subprocess.Popen([*program, *sweep], stderr=subprocess.PIPE, text=True)
    while not table.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert "What was finished is kept" in said
    assert "Traceback" not in said
    with table.open() as stream:
        row, _ = csv.DictReader(stream)
    assert row["category"] == "part"
    assert list(tmp_path.glob("**/*.tmp")) == []


def test_folders_named_by_numbers_and_words_are_found(call, settings, tmp_path, mvtec):
    for name in ("10", "1.10"):
        (mvtec / name).symlink_to(mvtec / "part")
    result = call("-m", *TINY_MODEL, *settings, "dataset.category=10,1.10", "hydra.sweep.dir=sweep")
    assert result.returncode == 0, said(result)
    with (tmp_path / "cwd/sweep/results.csv").open() as stream:
        assert [row["category"] for row in csv.DictReader(stream)] == ["10", "1.10", "mean"]


def test_a_folder_may_have_any_name(call, settings, tmp_path, mvtec, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    mvtec.rename(tmp_path / "Stücke, it's #1 (数据)=\\")
    result = call(
        *TINY_MODEL,
        *settings,
        "dataset.root=~/Stücke, it's #1 (数据)=\\",
        "paths.output_dir=~/1.10",
        "tags=[1.10]",
    )
    assert result.returncode == 0, said(result)
    assert '"1.10"' in (tmp_path / "1.10/metrics.json").read_text(encoding="utf-8")
    assert list((tmp_path / "cwd").iterdir()) == [tmp_path / "cwd/outputs"]


@pytest.mark.parametrize(
    "name", ["config", "calibrate", "export", "predict", "serve", "tune", "update"]
)
def test_an_argument_that_hydra_cannot_read_is_answered_in_a_sentence(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "seed=ä"])
    with pytest.raises(SystemExit) as stop:
        run_command(name, "")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "\"seed='ä'\"" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("mode", ["run", "sweep"])
@pytest.mark.parametrize("name", ["config", "export", "predict"])
def test_commands_of_one_second_have_folders_of_their_own(name, mode, call, monkeypatch, tmp_path):
    clock = SimpleNamespace(now=lambda: datetime(2026, 1, 2, 3, 4, 5))
    monkeypatch.setattr("hydra.core.utils.datetime", clock)
    folders = []

    def job(cfg):
        folders.append(HydraConfig.get().runtime.output_dir)
        return {"category": "part", "error": "none"}

    monkeypatch.setitem(sys.modules, f"job_{name}_{mode}", SimpleNamespace(run=job))
    arguments = ["checkpoint=x", *(["input=y"] if name == "predict" else [])]
    flag = ["-m"] if mode == "sweep" else []
    for _ in range(3):
        monkeypatch.setattr(sys, "argv", [name, *flag, *arguments])
        run_command(name, f"job_{name}_{mode}")
    day = tmp_path / "cwd" / ("outputs" if mode == "run" else "multirun") / "2026-01-02"
    expected = [day / f"03-04-05{end}" for end in ("", "-1", "-2")]
    assert sorted(day.iterdir()) == expected
    assert folders == [str(path / "0" if mode == "sweep" else path) for path in expected]


def test_a_folder_that_the_user_names_is_used_again(call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "job_again", SimpleNamespace(run=print))
    monkeypatch.setattr(sys, "argv", ["export", "checkpoint=x", "hydra.run.dir=mine"])
    for _ in range(2):
        run_command("export", "job_again")
    assert [path.name for path in (tmp_path / "cwd").iterdir()] == ["mine"]


def test_a_full_disk_is_told_by_any_command(monkeypatch, capsys, tmp_path):
    def run(cfg):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "job_full", SimpleNamespace(run=run))
    monkeypatch.setattr(sys, "argv", ["export", "checkpoint=x"])
    with pytest.raises(SystemExit) as stop:
        run_command("export", "job_full")
    assert stop.value.code == 2
    text = " ".join("".join(capsys.readouterr()).split())
    assert "No space left on device. Free some space" in text
    assert "Traceback" not in text


def test_a_folder_without_space_is_told_before_the_work(monkeypatch, capsys, tmp_path):
    def refuse(dir):  # noqa: A002
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(sys, "argv", ["export", "checkpoint=x"])
    with pytest.raises(SystemExit) as stop:
        run_command("export", "job_never")
    assert stop.value.code == 2
    assert "(No space left on device). Choose another" in capsys.readouterr().err


@pytest.mark.parametrize("first", ["run", "compose"])
def test_a_run_needs_no_import_but_its_own(first, settings, tmp_path):
    imports = ["from fre_lightning.experiment import run", "cfg = make()"]
    program = f"""
import sys
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

def make():
    with initialize_config_dir({str(CONFIG_DIR)!r}, version_base="1.3"):
        return compose("config", sys.argv[1:])

{chr(10).join(imports if first == "run" else reversed(imports))}
OmegaConf.to_container(cfg, resolve=True)
run(cfg)
assert "fre_lightning.cli" not in sys.modules
"""
    output = f"paths.output_dir={tmp_path / 'run'}"
    command = [sys.executable, "-c", program, *TINY_MODEL, *settings, output, "scoring=paper"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run/metrics.json").is_file()
