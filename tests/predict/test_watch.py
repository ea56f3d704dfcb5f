"""A watched folder: each file once, when it is whole, whatever happens to folder and program."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import fre_lightning
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError, DatasetError, OutputError
from fre_lightning.predict import watch
from fre_lightning.predict.inputs import Inputs
from fre_lightning.predict.job import judge, run
from fre_lightning.predict.record import claim
from fre_lightning.predict.watch import FolderWatcher


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(watch, "_SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(watch, "_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(watch, "_TICK_MS", 20)
    monkeypatch.setattr(watch, "_POLL_MS", 100)


@pytest.fixture(scope="module")
def png(fitted_run):
    return (fitted_run.parent / "mvtec/part/test/good/000.png").read_bytes()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def begin(fitted_run, folder, tmp_path):
    """Watch the folder in a thread; call what is returned to end that."""
    ends = []

    def start(*, poll=False, heatmaps=False):
        detector = fre_lightning.load(fitted_run, device="cpu", n_threads=1)
        watcher = FolderWatcher(str(folder), poll=poll)
        inputs = Inputs(watcher.arrivals, None, watcher.folder)
        (tmp_path / "out").mkdir(exist_ok=True)
        failed = []

        def work():
            try:
                judge(detector, inputs, tmp_path / "out", heatmaps=heatmaps, watcher=watcher)
            except BaseException as error:
                failed.append(error)
                raise

        thread = threading.Thread(target=work)
        thread.start()

        def end():
            watcher.close()
            thread.join(30)
            assert not thread.is_alive()
            assert failed == []

        ends.append(end)
        return end

    yield start
    for end in ends:
        end()


def read(tmp_path):
    path = tmp_path / "out/predictions.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def names(tmp_path):
    return [Path(row["path"]).name for row in read(tmp_path)]


@pytest.mark.parametrize("poll", [False, True])
def test_what_is_there_and_what_comes(begin, folder, tmp_path, png, poll):
    (folder / "a.png").write_bytes(png)
    (folder / "notes.txt").write_text("no image")
    end = begin(poll=poll, heatmaps=True)
    wait_for(lambda: names(tmp_path) == ["a.png"])
    (folder / "b.png").write_bytes(png)
    (folder / ".c.png").write_bytes(png)
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir/d.png").write_bytes(png)
    wait_for(lambda: names(tmp_path) == ["a.png", "b.png"])
    (folder / ".c.png").rename(folder / "c.png")  # how careful programs hand over
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/e.png").write_bytes(png)
    (tmp_path / "sub").rename(folder / "sub")
    wait_for(lambda: sorted(names(tmp_path)) == ["a.png", "b.png", "c.png", "e.png"])
    end()
    assert {row["error"] for row in read(tmp_path)} == {""}
    assert (tmp_path / "out/heatmaps/sub/e.png").is_file()
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert sum(summary["images"].values()) == summary["drift"]["n_images"] == 4


def test_a_file_that_is_written_slowly_is_waited_for(begin, folder, tmp_path, png):
    end = begin()
    with (folder / "slow.png").open("wb") as stream:
        size = len(png) // 3 + 1
        for start in range(0, len(png), size):
            stream.write(png[start : start + size])
            stream.flush()
            # It looks finished for long enough, and is tried.
            time.sleep(0.3)
            (folder / f"{start}.png").write_bytes(png)
            wait_for(lambda name=f"{start}.png": name in names(tmp_path))
    wait_for(lambda: "slow.png" in names(tmp_path))
    end()
    (row,) = (row for row in read(tmp_path) if row["path"].endswith("slow.png"))
    assert row["error"] == ""


def test_a_file_that_never_becomes_readable(begin, folder, tmp_path, png, monkeypatch, caplog):
    monkeypatch.setattr(watch, "_TIMEOUT_SECONDS", 0.5)
    end = begin()
    (folder / "half.png").write_bytes(png[:200])
    (folder / "whole.png").write_bytes(png)
    wait_for(lambda: names(tmp_path) == ["whole.png", "half.png"])
    assert read(tmp_path)[1]["error"]
    assert "half.png has not become readable" in caplog.text
    (folder / "half.png").write_bytes(png)
    wait_for(lambda: len(names(tmp_path)) == 3)
    end()
    assert read(tmp_path)[2]["error"] == ""


def test_a_replaced_file_is_judged_again(begin, folder, tmp_path, png, fitted_run):
    end = begin()
    (folder / "latest.png").write_bytes(png)
    wait_for(lambda: len(names(tmp_path)) == 1)
    shutil.copy(fitted_run.parent / "mvtec/part/test/dent/000.png", folder / "latest.png")
    wait_for(lambda: len(names(tmp_path)) == 2)
    end()
    first, second = read(tmp_path)
    assert float(first["score"]) < float(second["score"])
    assert first["modified"] != second["modified"]


def test_a_restart_judges_nothing_twice(begin, folder, tmp_path, png):
    for name in "ab":
        (folder / f"{name}.png").write_bytes(png)
    end = begin()
    wait_for(lambda: len(names(tmp_path)) == 2)
    end()
    (folder / "c.png").write_bytes(png)
    (folder / "a.png").write_bytes(png)
    os.utime(folder / "a.png", (1, 1))  # replaced meanwhile, by an older file
    table = tmp_path / "out/predictions.csv"
    table.write_bytes(table.read_bytes() + b"/half/a/row.p")  # killed while it wrote
    end = begin()
    wait_for(lambda: len(names(tmp_path)) == 4)
    end()
    assert sorted(names(tmp_path)) == ["a.png", "a.png", "b.png", "c.png"]
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert sum(summary["images"].values()) == summary["drift"]["n_images"] == 4


@pytest.mark.parametrize("poll", [False, True])
def test_a_folder_that_goes_and_comes_back(begin, folder, tmp_path, png, caplog, poll):
    (folder / "a.png").write_bytes(png)
    end = begin(poll=poll)
    wait_for(lambda: len(names(tmp_path)) == 1)
    folder.rename(tmp_path / "away")
    wait_for(lambda: "is waited for" in caplog.text)
    (tmp_path / "away/b.png").write_bytes(png)
    (tmp_path / "away").rename(folder)
    wait_for(lambda: len(names(tmp_path)) == 2)
    (folder / "c.png").write_bytes(png)
    wait_for(lambda: len(names(tmp_path)) == 3)
    end()
    assert names(tmp_path) == ["a.png", "b.png", "c.png"]
    said = [text for text in caplog.messages if str(folder) in text and "Going" not in text]
    assert [text.removeprefix(str(folder)).split("(")[0] for text in said] == [
        " is waited for ",
        " is there again.",
    ]


def test_without_notices_it_polls(begin, folder, tmp_path, png, monkeypatch, caplog):
    wait, asked = watch.watchfiles.watch, []

    def refuse(*paths, force_polling, **options):
        asked.append(force_polling)
        if not force_polling:
            raise OSError(28, "OS file watch limit reached")
        return wait(*paths, force_polling=True, **options)

    monkeypatch.setattr(watch.watchfiles, "watch", refuse)
    end = begin()
    (folder / "a.png").write_bytes(png)
    wait_for(lambda: len(names(tmp_path)) == 1)
    end()
    assert asked == [None, True]
    assert "watch=poll" in caplog.text


def test_two_watchers_do_not_share_a_table(tmp_path):
    with claim(tmp_path), pytest.raises(ConfigError, match="Another process"), claim(tmp_path):
        pass
    with claim(tmp_path):
        pass


def test_mistakes(fitted_run, folder, tmp_path):
    def predict(*overrides):
        options = [f"checkpoint={fitted_run}", f"input={folder}", "watch=true", *overrides]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            run(compose("predict", [f"paths.output_dir={tmp_path / 'out'}", *options]))

    with pytest.raises(ConfigError, match="watch=maybe must be"):
        predict("watch=maybe")
    for source in ("nowhere", "-", f"[{folder}]"):
        with pytest.raises(DatasetError, match="is no folder"):
            predict(f"input={source}")
    with pytest.raises(ConfigError, match="would be judged, too"):
        predict(f"paths.output_dir={folder}/out", "heatmaps=true")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions.csv").write_text("path,score\nmine,1\n")
    with pytest.raises(OutputError, match="no table of a watched folder"):
        predict()
    assert (tmp_path / "out/predictions.csv").read_text() == "path,score\nmine,1\n"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_ends_in_order(fitted_run, folder, tmp_path, png, number, code):
    (folder / "a.png").write_bytes(png)
    options = [f"checkpoint={fitted_run}", f"input={folder}", "watch=true"]
    options += [f"hydra.run.dir={tmp_path}/out", "heatmaps=true"]
    command = [sys.executable, "-m", "fre_lightning.predict", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        wait_for(lambda: len(names(tmp_path)) == 1, 120)
        process.send_signal(number)
        text = process.communicate(timeout=60)[0]
    assert process.returncode == code
    assert "Stopped" in text
    for word in ("Traceback", "Fatal", "panicked"):
        assert word not in text
    assert json.loads((tmp_path / "out/summary.json").read_text())["drift"]["n_images"] == 1
    assert (tmp_path / "out/heatmaps/a.png").is_file()
