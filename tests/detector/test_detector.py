"""A loaded detector says what the run that fitted it said."""

import csv
import dataclasses
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

import fre_lightning
from fre_lightning.detector.checkpoint import PAYLOAD_KEY
from fre_lightning.errors import CheckpointError, ConfigError, FeatureError, UnreadableImageError
from fre_lightning.experiment import run
from fre_lightning.fitted import state_digest
from fre_lightning.scoring.drift import Drift


@pytest.fixture(scope="module")
def detector(fitted_run):
    return fre_lightning.load(fitted_run, device="cpu", n_threads=2)


@pytest.fixture(scope="module")
def scores(fitted_run):
    """Path to score, as the run wrote them."""
    root = fitted_run.parent / "mvtec"
    with (fitted_run / "scores.csv").open() as stream:
        return {root / row["path"]: float(row["score"]) for row in csv.DictReader(stream)}


def test_scores_thresholds_and_decisions_are_those_of_the_run(detector, scores, fitted_run):
    summary = json.loads((fitted_run / "metrics.json").read_text())
    results = detector.detect_batch(scores)
    np.testing.assert_allclose([r.score for r in results], list(scores.values()), rtol=1e-4)
    for result in results:
        assert result.threshold == pytest.approx(summary["threshold"])
        assert result.pixel_threshold == pytest.approx(summary["pixel_threshold"])
    labels = [path.parent.name != "good" for path in scores]
    accuracy = np.mean([r.is_defective == label for r, label in zip(results, labels, strict=True)])
    assert accuracy == summary["accuracy"]


def test_one_by_one_is_as_in_a_batch(detector, scores):
    paths = list(scores)
    for path, together in zip(paths, detector.detect_batch(paths), strict=True):
        alone = detector(path)
        assert alone.score == pytest.approx(together.score, rel=1e-4)
        largest = together.anomaly_map.max()
        np.testing.assert_allclose(alone.anomaly_map, together.anomaly_map, atol=1e-4 * largest)


def test_threads_may_share_it(detector, scores):
    expected = {path: detector(path).score for path in scores}
    n_threads = torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda path: (path, detector(path)), [*scores] * 5))
    for path, result in results:
        assert result.score == pytest.approx(expected[path], rel=1e-5)
    assert torch.get_num_threads() == n_threads


def test_the_p_value_counts_normal_images_that_score_as_high(detector, scores, fitted_run):
    content = torch.load(fitted_run / "model.ckpt", weights_only=True)
    normal = content["state_dict"]["calibration.image_scores"].numpy()
    for path in scores:
        result = detector(path)
        expected = (1 + (normal >= np.float32(result.score)).sum()) / (1 + len(normal))
        assert result.p_value == pytest.approx(expected)


def test_the_box_encloses_the_defect(detector, fitted_run):
    root = fitted_run.parent / "mvtec/part"
    found = 0
    for path in sorted((root / "test/dent").iterdir()):
        mask_path = root / "ground_truth/dent" / f"{path.stem}_mask.png"
        truth = np.asarray(Image.open(mask_path)) > 0
        rows, columns = ndimage.find_objects(truth.astype(int))[0]
        result = detector(path)
        if result.box is None:
            continue
        x0, y0, x1, y1 = result.box
        assert x0 < columns.stop
        assert columns.start < x1
        assert y0 < rows.stop
        assert rows.start < y1
        found += 1
    assert found >= 2


def test_maps_and_boxes_at_the_size_of_the_image(detector, fitted_run):
    path = next((fitted_run.parent / "mvtec/part/test/dent").iterdir())
    small = detector(path)
    large = detector(Image.open(path).resize((96, 64), Image.Resampling.NEAREST))
    assert small.anomaly_map.shape == large.anomaly_map.shape == detector.image_size
    assert small.anomaly_map.dtype == np.float32
    assert large.map_at_image_size().shape == large.image_size == (64, 96)
    np.testing.assert_array_equal(small.map_at_image_size(), small.anomaly_map)
    np.testing.assert_array_equal(small.mask, small.anomaly_map > small.pixel_threshold)
    with pytest.raises(dataclasses.FrozenInstanceError):
        small.score = 0.0


def test_the_rate_and_the_threshold_can_be_chosen(fitted_run, scores):
    strict = fre_lightning.load(fitted_run, device="cpu", false_alarm_rate=0.5)
    default = fre_lightning.load(fitted_run, device="cpu")
    assert default.false_alarm_rate == 0.2  # the run's
    assert strict.threshold < default.threshold
    assert strict.pixel_threshold < default.pixel_threshold
    path, score = next(iter(scores.items()))
    assert fre_lightning.load(fitted_run, threshold=score * 0.99)(path).is_defective is True
    assert fre_lightning.load(fitted_run, threshold=score * 1.01)(path).is_defective is False


def test_without_calibration_there_is_no_decision(make_config, tmp_path, mvtec):
    run(make_config("datamodule.limit_images=2", "logger=none"))
    path = mvtec / "part/test/dent/000.png"
    result = fre_lightning.load(tmp_path / "run", device="cpu")(path)
    assert result.score > 0
    for value in (result.p_value, result.threshold, result.is_defective, result.pixel_threshold):
        assert value is None
    detector = fre_lightning.load(tmp_path / "run", device="cpu")
    detector.detect_batch([path])
    assert detector.drift is None
    assert (result.mask, result.box) == (None, None)
    decided = fre_lightning.load(tmp_path / "run", device="cpu", threshold=0.0)(path)
    assert (decided.is_defective, decided.p_value) == (True, None)


def test_a_stream_goes_on_after_an_unreadable_image(detector, scores, tmp_path):
    (tmp_path / "broken.png").write_text("no image")
    paths = [*scores][:3]
    outcomes = list(detector.stream([paths[0], tmp_path / "broken.png", *paths[1:]]))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, True]
    assert outcomes[1].result is None
    assert "broken.png" in str(outcomes[1].error)
    assert outcomes[2].image == paths[1]
    assert outcomes[2].result.score == pytest.approx(scores[paths[1]], rel=1e-4)
    with pytest.raises(UnreadableImageError, match=r"broken\.png"):
        detector.detect_batch([tmp_path / "broken.png"])
    assert detector.detect_batch([]) == []


def test_networks_with_weights_load_without_their_file(make_config, tmp_path, mvtec):
    """The file that the weights came from is gone, so they must be in the checkpoint."""
    import safetensors.torch
    from torchvision.models import resnet18

    weights = tmp_path / "weights.safetensors"
    torch.manual_seed(3)
    safetensors.torch.save_file(resnet18().state_dict(), weights)
    model = ("model=resnet18", f"model.weights={weights}", "model.image_size=64")
    run(make_config("logger=none", "scoring=paper", model=model))
    weights.unlink()
    with (tmp_path / "run/scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    detector = fre_lightning.load(tmp_path / "run", device="cpu", n_threads=2)
    results = detector.detect_batch([mvtec / row["path"] for row in rows])
    expected = [float(row["score"]) for row in rows]
    np.testing.assert_allclose([r.score for r in results], expected, rtol=1e-3)


def test_a_score_that_is_no_number_is_no_verdict(fitted_run, scores, tmp_path):
    content = torch.load(fitted_run / "model.ckpt", weights_only=True)
    state = content["state_dict"]
    next(value for name, value in state.items() if name.endswith(".mean")).fill_(torch.nan)
    content[PAYLOAD_KEY]["weights_sha256"] = state_digest(state)
    torch.save(content, tmp_path / "model.ckpt")
    detector = fre_lightning.load(tmp_path, device="cpu")
    with pytest.raises(FeatureError, match="not a finite number"):
        detector(next(iter(scores)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"false_alarm_rate": 0.0}, "false_alarm_rate=0.0"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate=1.0"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"n_threads": 0}, "n_threads=0"),
        ({"device": "warp"}, "device=warp"),
        ({"device": "cuda:77"}, "device=cuda:77"),
    ],
)
def test_options_out_of_range(fitted_run, options, words):
    with pytest.raises(ConfigError, match=words):
        fre_lightning.load(fitted_run, **options)


def test_weights_that_do_not_fit_the_configuration(fitted_run, tmp_path):
    content = torch.load(fitted_run / "model.ckpt", weights_only=True)
    content[PAYLOAD_KEY]["config"]["reducer"]["unknown"] = 3
    torch.save(content, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="does not fit"):
        fre_lightning.load(tmp_path)


def test_importing_the_package_is_light():
    code = "import sys, fre_lightning; fre_lightning.__version__; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
    with pytest.raises(AttributeError, match="nothing"):
        fre_lightning.nothing  # noqa: B018


def test_streams_count_for_drift_and_calls_do_not(fitted_run, scores, caplog):
    detector = fre_lightning.load(fitted_run, device="cpu")
    path = max(scores, key=scores.get)
    detector(path)
    assert detector.drift == Drift()
    outcomes = list(detector.stream([path] * 20))
    assert outcomes[0].result.p_value == pytest.approx(1 / 17)
    assert detector.drift.n_images == 20
    assert detector.drift.noticed_at is None
    detector.detect_batch([path] * 40)
    assert 20 < detector.drift.noticed_at < 60
    assert (detector.drift.since, detector.drift.since_image) == (1, str(path))
    assert detector.drift.scores == "higher"
    (said,) = (text for text in caplog.messages if "Drift" in text)
    assert f"from image 1 ({path}) on, scores are higher" in said
