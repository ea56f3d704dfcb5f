"""A run from images to results, a detector and a report, on a small classifier."""

import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from sklearn.metrics import roc_auc_score

import fre_lightning
from fre_lightning.errors import CheckpointError, ConfigError, DatasetError
from fre_lightning.metrics.ood import OOD_METRICS
from fre_lightning.ood.results import read_rows, spread, write_rows
from fre_lightning.ood.sweep import SweepMeans
from fre_lightning.results.sweep_jobs import SweepJob, record_job
from tests.ood.conftest import read

KEYS = ["fre", "fre_by_class", "msp", "max_logit", "energy", "react", "mahalanobis", "knn", "vim"]


def test_results_are_those_of_the_scores(finished):
    folder, summary = finished
    assert summary["accuracy"] > 0.9
    assert (summary["n_train"], summary["n_held_out"], summary["n_test"]) == (60, 60, 36)
    scores, rows = read(folder / "scores.csv"), read(folder / "results.csv")
    assert json.loads((folder / "metrics.json").read_text()) == summary
    assert len(rows) == len(KEYS) * 4  # three sets, and the mean of the near ones
    titles = list(dict.fromkeys(row["method"] for row in rows))
    for title, key in zip(titles, KEYS, strict=True):
        found = {}
        for name in ("steep", "noise", "inverted"):
            chosen = [row for row in scores if row["set"] in {"known", name}]
            truth = [row["set"] == name for row in chosen]
            found[name] = roc_auc_score(truth, [float(row[key]) for row in chosen])
        found["near mean"] = (found["steep"] + found["inverted"]) / 2
        for row in rows:
            if row["method"] == title:
                assert float(row["auroc"]) == pytest.approx(found[row["set"]], abs=1e-6)
                assert row["kind"] == ("far" if row["set"] == "noise" else "near")


def test_noise_is_told_by_the_subspaces(finished):
    rows = {(row["method"], row["set"]): float(row["auroc"]) for row in read_rows(finished[0])}
    assert rows["FRE", "noise"] > 0.95
    assert rows["FRE per class", "noise"] > 0.95


def test_the_detector_says_what_the_table_says(finished, data):
    folder, _ = finished
    detector = fre_lightning.load(folder, device="cpu", n_threads=1)
    rows = [row for row in read(folder / "scores.csv") if row["set"] in {"known", "noise"}]
    paths = [data / "known" / row["path"] for row in rows]
    paths = [p if p.is_file() else data / "noise" / p.name for p in paths]
    for row, result in zip(rows, detector.detect_batch(paths), strict=True):
        assert result.label == row["class"]
        assert result.score == pytest.approx(float(row["fre_by_class"]), rel=1e-3)
        assert 0 < result.p_value <= 1
        assert result.is_unknown == (result.p_value <= 0.05)
    noise = detector(data / "noise/00.png")
    assert noise == detector.detect_batch([np.asarray(Image.open(data / "noise/00.png"))])[0]
    other = fre_lightning.load(folder, device="cpu", method="msp", false_alarm_rate=0.3)
    assert other(paths[0]).score == pytest.approx(float(rows[0]["msp"]), rel=1e-3, abs=1e-6)
    assert "MSP" in other.description


def test_p_values_are_of_the_predicted_class(finished, data):
    # 20 held-out images of a class: enough for a rate of 5 %, too few for 1 %.
    path = data / "noise/00.png"
    assert fre_lightning.load(finished[0], device="cpu")(path).p_value >= 1 / 30
    strict = fre_lightning.load(finished[0], device="cpu", false_alarm_rate=0.01)
    assert strict(path).p_value >= 1 / 61 - 1e-9


def test_a_trained_classifier_is_used_again(finished, data, call):
    folder, summary = finished
    again = call("again", f"classifier.weights={folder / 'classifier.pth'}", "report=false")
    assert again["results"] == summary["results"]
    assert again["weights"] == "classifier.pth"
    assert not (data / "again/report.html").exists()


@pytest.mark.parametrize("reducer", ["tae", "ae"])
def test_other_reducers_and_several_layers(finished, call, reducer):
    weights = f"classifier.weights={finished[0] / 'classifier.pth'}"
    layers = "classifier.layers=[blocks.1,penultimate]"
    settings = [weights, layers, f"reducer={reducer}", "reducer.epochs=5", "report=false"]
    summary = call(reducer, *settings, "decide_by=fre.blocks.1")
    methods = {row["method"] for row in summary["results"]}
    assert {"FRE, blocks.1", "FRE, penultimate", "kNN, blocks.1", "MSP", "ViM"} <= methods
    assert len(methods) == len(KEYS) + 4


def test_maps_of_layers(finished, data, call, tmp_path):
    weights = f"classifier.weights={finished[0] / 'classifier.pth'}"
    layers = ["classifier.layers=[blocks.1,penultimate]", "classifier.pool=2"]
    summary = call("maps", weights, *layers, "report=false", "decide_by=fre.blocks.1")
    assert {"FRE, blocks.1", "Mahalanobis, blocks.1", "ViM"} <= {
        row["method"] for row in summary["results"]
    }
    state = torch.load(data / "maps/model.ckpt", weights_only=True)["state_dict"]
    assert state["_methods.0.reducer.mean"].shape == (8 * 2 * 2,)  # of 4 x 4 positions
    rows = [row for row in read(data / "maps/scores.csv") if row["set"] == "noise"]
    paths = sorted((data / "noise").iterdir())
    results = fre_lightning.load(data / "maps", device="cpu").detect_batch(paths)
    for row, result in zip(rows, results, strict=True):
        assert result.score == pytest.approx(float(row["fre.blocks.1"]), rel=1e-3)


def test_a_checkpoint_from_before_there_were_windows(finished, data, tmp_path):
    content = torch.load(finished[0] / "model.ckpt", weights_only=True)
    del content["fre_lightning"]["config"]["classifier"]["pool"]
    torch.save(content, tmp_path / "model.ckpt")
    path = data / "noise/00.png"
    expected = fre_lightning.load(finished[0], device="cpu")(path)
    assert fre_lightning.load(tmp_path, device="cpu")(path) == expected


def test_methods_that_need_a_linear_head_are_left_out_without_one(call):
    network = ["classifier=torchvision", "classifier.name=squeezenet1_0"]
    settings = [*network, "classifier.weights=random", "classifier.image_size=32"]
    summary = call("squeezenet", *settings, "report=false", "held_out=0")
    methods = {row["method"] for row in summary["results"]}
    assert len(methods) == len(KEYS) - 2
    assert not {"ViM", "ReAct"} & methods


def test_the_report_is_one_page_without_scripts(finished):
    page = (finished[0] / "report.html").read_text()
    assert page.count("<svg") == len(KEYS) * 3
    assert page.count("<img") == 12 + 12
    assert "<script" not in page
    assert "AUPR-in" in page
    assert "good (" not in page


def test_a_sweep_is_mean_and_standard_deviation():
    row = {"method": "m", "set": "s", "kind": "near", "n_unknown": 3}
    row |= dict.fromkeys(("auroc", "aupr_in", "aupr_out", "fpr95"), 0.5)
    (row,) = spread([[row], [row | {"auroc": 0.7}]])
    assert row["auroc"] == pytest.approx(0.6)
    assert row["auroc_sd"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert (row["fpr95_sd"], row["n_runs"]) == (0, 2)


def test_a_sweep_averages_over_seeds_alone(tmp_path):
    row = {"method": "m", "set": "s", "kind": "near", "n_unknown": 3}
    jobs = ((0, "pca", 0.5), (1, "pca", 0.7), (0, "ae", 0.9))
    for number, (seed, reducer, auroc) in enumerate(jobs):
        folder = tmp_path / f"{seed}{reducer}"
        folder.mkdir()
        write_rows(folder, [row | dict.fromkeys(OOD_METRICS, auroc)])
        overrides = ["trainer=cpu", f"seed={seed}", f"reducer={reducer}"]
        record_job(tmp_path, SweepJob(number, str(folder), overrides, 0, was_finished=False))
    record_job(tmp_path, SweepJob(3, str(tmp_path / "failed"), ["seed=1"], 2, was_finished=False))
    SweepMeans().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    rows = {row["method"]: row for row in read_rows(tmp_path)}
    assert list(rows) == ["m, reducer=pca", "m, reducer=ae"]
    pca, ae = rows.values()
    assert (float(pca["auroc"]), float(ae["auroc"])) == pytest.approx((0.6, 0.9))
    assert (pca["n_runs"], ae["n_runs"]) == ("2", "1")


def test_mistakes(call, finished, tmp_path):
    weights = tmp_path / "two.pth"
    state = torch.load(finished[0] / "classifier.pth", weights_only=True)
    state |= {"head.weight": state["head.weight"][:2], "head.bias": state["head.bias"][:2]}
    torch.save(state, weights)
    with pytest.raises(DatasetError, match="tells 2 classes apart, and the known images have 3"):
        call("bad", f"classifier.weights={weights}")
    with pytest.raises(ConfigError, match="best is none of the methods fre, "):
        call("bad", "decide_by=best")
    with pytest.raises(ConfigError, match="held_out=1 must be"):
        call("bad", "held_out=1")
    with pytest.raises(CheckpointError, match=r"another task \(ood\)"):
        fre_lightning.detector.load(finished[0])
    content = torch.load(finished[0] / "model.ckpt", weights_only=True)
    content["state_dict"]["held_out_scores"] += 1
    torch.save(content, tmp_path / "damaged.ckpt")
    with pytest.raises(CheckpointError, match="is damaged"):
        fre_lightning.load(tmp_path / "damaged.ckpt")
