"""Tables of predictions by a run of `fre_lightning.ood`, through the common command."""

import json
import threading
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import fre_lightning
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import BackboneError, ConfigError, OutputError
from fre_lightning.ood.detector import OODDetector
from fre_lightning.predict import job
from fre_lightning.predict.job import run
from tests.ood.conftest import read
from tests.ood.test_programs import Named, export, make_network

COLUMNS = ("path", "class", "confidence", "score", "p_value", "is_unknown", "error")


@pytest.fixture
def predict(finished, tmp_path):
    """Run a job and return what is to be said of it."""

    def call(*overrides, checkpoint=finished[0]):
        options = [f"checkpoint={checkpoint}", "device=cpu", "n_threads=1", *overrides]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return run(compose("predict", [f"paths.output_dir={tmp_path / 'out'}", *options]))

    return call


def check(row, result):
    assert (row["class"], row["error"]) == (result.label, "")
    for name in ("confidence", "score", "p_value"):
        assert float(row[name]) == pytest.approx(getattr(result, name), rel=1e-4)
    assert row["is_unknown"] == str(result.is_unknown).lower()


def test_rows_are_what_the_detector_says(predict, finished, data, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, path in enumerate(sorted((data / "noise").iterdir())[:3]):
        (folder / f"{i}.png").write_bytes(path.read_bytes())
    (folder / "1b.png").write_text("no image")
    summary = predict(f"input={folder}", "false_alarm_rate=0.1", "method=msp")
    rows = read(summary.path)
    assert [row["path"] for row in rows] == [str(p) for p in sorted(folder.iterdir())]
    detector = fre_lightning.load(finished[0], device="cpu", false_alarm_rate=0.1, method="msp")
    for row in rows:
        assert tuple(row) == COLUMNS
        if not row["error"]:
            check(row, detector(row["path"]))
    assert "1b.png" in rows[2]["error"]
    n_unknown = sum(row["is_unknown"] == "true" for row in rows)
    expected = {"known": 3 - n_unknown, "unknown": n_unknown, "unreadable": 1}
    assert {**summary.counts} == {key: n for key, n in expected.items() if n}
    assert "1 unreadable" in capsys.readouterr().out
    about = json.loads((tmp_path / "out/summary.json").read_text())
    assert (about["images"], about["drift"]) == ({**summary.counts}, None)
    assert (about["method"], about["false_alarm_rate"]) == ("msp", 0.1)


def test_rows_are_there_as_soon_as_they_are_known(predict, data, tmp_path, monkeypatch):
    table, seen = tmp_path / "out/predictions.csv", []
    whole = OODDetector.stream

    def watched(*arguments):
        for outcome in whole(*arguments):
            yield outcome
            seen.append(len(table.read_text().splitlines()))

    monkeypatch.setattr(OODDetector, "stream", watched)
    predict(f"input={data / 'noise'}")
    assert len(seen) == 20
    assert seen == list(range(2, len(seen) + 2))


def test_parts_are_together_the_whole(predict, data):
    whole = {row["path"]: row for row in read(predict(f"input={data / 'noise'}").path)}
    parts = [predict(f"input={data / 'noise'}", f"shard={i}/2") for i in (1, 2)]
    assert [part.path.name for part in parts] == [f"predictions-{i}-of-2.csv" for i in (1, 2)]
    rows = [row for part in parts for row in read(part.path)]
    assert len(rows) == len(whole) == 20
    for row in rows:
        expected = whole[row["path"]]
        assert (row["class"], row["is_unknown"]) == (expected["class"], expected["is_unknown"])
        assert float(row["score"]) == pytest.approx(float(expected["score"]), rel=1e-4)


def test_without_held_out_images_nothing_is_decided(predict, data, call):
    call("plain", "held_out=0", "report=false", "training.epochs=1")
    summary = predict(f"input={data / 'noise'}", checkpoint=data / "plain")
    assert {**summary.counts} == {"undecided": 20}
    assert {(row["p_value"], row["is_unknown"]) for row in read(summary.path)} == {("", "")}


def test_a_watched_folder_goes_on(predict, data, tmp_path, monkeypatch):
    folder, table, watchers = tmp_path / "in", tmp_path / "out/predictions.csv", []
    folder.mkdir()
    made = job.make_watcher
    monkeypatch.setattr(job, "make_watcher", lambda *a: watchers.append(made(*a)) or watchers[-1])
    first, second = sorted((data / "noise").iterdir())[:2]

    def watch_until(n_rows):
        watching = threading.Thread(target=predict, args=(f"input={folder}", "watch=poll"))
        watching.start()
        end = time.monotonic() + 30
        while not table.is_file() or len(read(table)) < n_rows:
            assert time.monotonic() < end
            time.sleep(0.02)
        watchers[-1].close()
        watching.join(30)

    (folder / "a.png").write_bytes(first.read_bytes())
    watch_until(1)
    (folder / "b.png").write_bytes(second.read_bytes())
    watch_until(2)
    assert [Path(row["path"]).name for row in read(table)] == ["a.png", "b.png"]
    images = json.loads((tmp_path / "out/summary.json").read_text())["images"]
    assert sum(images.values()) == 2


def test_a_run_on_a_program_takes_its_program(predict, call, data):
    export(make_network(lambda: Named(3)), data / "mine.pt2", size=8)
    call("mine", "classifier=program", f"classifier.file={data / 'mine.pt2'}", "report=false")
    with pytest.raises(BackboneError, match=r"mine\.pt2, which is code.*program=FILE"):
        predict(f"input={data / 'noise'}", checkpoint=data / "mine")
    summary = predict(
        f"input={data / 'noise'}", f"program={data / 'mine.pt2'}", checkpoint=data / "mine"
    )
    assert len(read(summary.path)) == 20


def test_options_of_the_other_kind(predict, data, fitted_run, tmp_path):
    noise = f"input={data / 'noise'}"
    for setting in ("heatmaps=true", "threshold=3", f"roi={data}"):
        with pytest.raises(ConfigError, match=f"no detector of defects: leave out {setting[:3]}"):
            predict(noise, setting)
    with pytest.raises(ConfigError, match=r"no run of fre_lightning\.ood: leave out method"):
        predict(noise, "method=fre", checkpoint=fitted_run)
    with pytest.raises(ConfigError, match="best is none of the methods"):
        predict(noise, "method=best")
    with pytest.raises(ConfigError, match="n_threads=0 must be at least 1"):
        predict(noise, "n_threads=0")
    header = "path,score,p_value,threshold,is_defective,x0,y0,x1,y1,error,modified\r\n"
    (tmp_path / "out/predictions.csv").write_text(header, newline="")
    with pytest.raises(OutputError, match="that this detector wrote"):
        predict(noise, "watch=true")
