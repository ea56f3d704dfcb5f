"""Exports of classifiers, compared with the tables of their runs and with their detectors."""

import json
import logging
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

import fre_lightning
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import BackboneError, ConfigError, ExportError
from fre_lightning.export.graph import exportable
from fre_lightning.export.job import FORMATS, run
from fre_lightning.export.subjects import load_subject
from fre_lightning.ood.deciding import Deciding
from fre_lightning.ood.loading import restore_ood
from fre_lightning.ood.networks import SmallClassifier
from tests.ood.conftest import read
from tests.ood.test_job import KEYS
from tests.ood.test_programs import Named, export, make_network, script

PAGE = Path(__file__).parents[2] / "docs/ood.md"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def compose_export(tmp_path):
    def make(folder, *overrides):
        settings = [f"checkpoint={folder}", f"paths.output_dir={tmp_path / 'exported'}"]
        settings += ["n_images=4", "latency_repeats=1", "latency_batch=2"]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return compose("export", [*settings, *overrides])

    return make


@pytest.fixture
def make_export(compose_export, tmp_path):
    def make(folder, *overrides):
        report = run(compose_export(folder, *overrides))
        file_format = FORMATS[report["format"]]
        return report, file_format.load(tmp_path / "exported" / file_format.files[0])

    return make


def images_of(data, name):
    paths = sorted((data / name).rglob("*.png"))
    return paths, [np.asarray(Image.open(path).convert("RGB")) for path in paths]


@pytest.mark.parametrize("key", KEYS)
def test_one_method_of_all_gives_the_table_s_scores(finished, data, key):
    folder, _ = finished
    model = Deciding(restore_ood(folder)[0], key)
    rows = [row for row in read(folder / "scores.csv") if row["set"] == "noise"]
    _, images = images_of(data, "noise")
    pixels = torch.stack([torch.from_numpy(image.copy()).permute(2, 0, 1) for image in images])
    with torch.inference_mode():
        scores, logits = model(pixels)
    assert logits.shape == (20, 3)
    expected = [float(row[key]) for row in rows]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def check(report, exported, detector, data, key, folder):
    """Scores, classes and decisions are those of the run's table, and of its detector."""
    known = [row for row in read(folder / "scores.csv") if row["set"] == "known"]
    table = {row["path"]: row for row in known}
    assert len(table) == 36
    for name in ("noise", "known/test"):
        paths, images = images_of(data, name)
        for start in (0, 5):
            chosen = slice(start, start + 1 + start // 2)
            scores, logits = exported(np.stack(images[chosen]))
            for path, score, row in zip(paths[chosen], scores, logits, strict=True):
                result = detector(path)
                assert score == pytest.approx(result.score, rel=1e-4, abs=1e-4 * abs(result.score))
                label = int(row.argmax())
                assert report["classes"][label] == result.label
                threshold = report["thresholds"][label]
                unknown = None if threshold is None else bool(score > threshold)
                assert unknown in {result.is_unknown, None}
                relative = str(path.relative_to(data / "known")) if "known" in name else None
                if relative in table:
                    assert score == pytest.approx(float(table[relative][key]), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("onnx", "fre_by_class"),
        *(pytest.param(name, "mahalanobis", marks=pytest.mark.slow) for name in FORMATS),
        *(pytest.param("onnx", key, marks=pytest.mark.slow) for key in KEYS),
        *(pytest.param("torch_export", key, marks=pytest.mark.slow) for key in ("knn", "vim")),
    ],
)
@pytest.mark.skipif(
    torch.__version__.startswith("2.11."),
    reason="torch 2.11 writes a product of float and integer, which ONNX Runtime refuses",
)
def test_a_file_decides_as_the_detector(finished, data, make_export, tmp_path, name, key):
    folder, _ = finished
    report, exported = make_export(
        folder, f"format={name}", f"method={key}", "false_alarm_rate=0.1"
    )
    detector = fre_lightning.load(folder, device="cpu", method=key, false_alarm_rate=0.1)
    check(report, exported, detector, data, key, folder)
    assert all(threshold is not None for threshold in report["thresholds"])
    assert report["parity"]["images"] == "the run's test images"
    assert report["parity"]["logits_difference"] <= 1e-4
    assert list(report["outputs"]) == ["score", "logits"]
    assert json.loads((tmp_path / "exported/export.json").read_text()) == report
    scores, logits = exported(np.zeros((2, 21, 13, 3), np.uint8))  # of any size
    assert (scores.shape, logits.shape) == ((2,), (2, 3))
    if name == "onnx" and key == "fre_by_class":
        path = next((data / "noise").iterdir())
        result = detector(path)
        shown = run_example(tmp_path / "exported", path)
        assert shown[::2] == [result.label, str(result.is_unknown)]
        assert float(shown[1]) == pytest.approx(result.score, rel=1e-4)


def run_example(folder, image):
    """What the page's example prints where this package cannot be imported."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    code = next(block for block in blocks if "onnxruntime" in block)
    shutil.copy(image, folder / "image.png")
    hide = "import sys; sys.modules['fre_lightning'] = None\n"
    command = [sys.executable, "-c", hide + code]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return shown.stdout.split()


def test_thresholds_are_those_of_the_p_values(finished, compose_export):
    folder, _ = finished
    about = load_subject(compose_export(folder, "method=msp", "false_alarm_rate=0.05")).about
    detector = fre_lightning.load(folder, device="cpu", method="msp", false_alarm_rate=0.05)
    for label, threshold in enumerate(about["thresholds"]):
        above = float(np.nextafter(np.float32(threshold), np.float32(np.inf)))
        assert detector._result(threshold, 0.5, label).is_unknown is False
        assert detector._result(above, 0.5, label).is_unknown is True
    few = load_subject(compose_export(folder, "false_alarm_rate=0.001")).about
    assert few["thresholds"] == [None] * 3


def test_subspaces_of_half_precision(finished, data):
    model = Deciding(restore_ood(finished[0])[0], "fre_by_class")
    half = exportable(model, half_reducer=True)
    dtypes = {name: buffer.dtype for name, buffer in half.method.named_buffers()}
    assert [dtypes[f"reducers.{i}.encoder"] for i in range(3)] == [torch.float16] * 3
    pixels = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(half(pixels)[0], model(pixels)[0], rtol=1e-2, atol=1e-4)


@pytest.fixture
def of_program(data, call):
    def make(save, name, *settings, kind=Named):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save(make_network(lambda: kind(3)), data / name, size=8)
        file = f"classifier.file={data / name}"
        call(f"of-{name}", "classifier=program", file, "decide_by=fre", *settings)
        return data / f"of-{name}", data / name

    return make


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(), ("classifier.layers=maps", "classifier.pool=3")])
def test_programs_export(of_program, make_export, data, settings):
    folder, program = of_program(export, "own.pt2", *settings)
    report, exported = make_export(folder, f"program={program}")
    detector = fre_lightning.load(folder, device="cpu", program=program)
    check(report, exported, detector, data, "fre", folder)


def test_programs_of_torchscript_do_not(of_program, make_export):
    folder, program = of_program(script, "own.pt")
    with pytest.raises(BackboneError, match=r"own\.pt is TorchScript"):
        make_export(folder, f"program={program}")


def test_a_network_that_looks_at_its_images_does_not(finished, make_export, monkeypatch, tmp_path):
    whole = SmallClassifier.outputs

    def branch(self, images, layers):
        return whole(self, images if images.float().mean() > 3 else images // 2, layers)

    monkeypatch.setattr(SmallClassifier, "outputs", branch)
    with pytest.raises(ExportError, match=r"cannot be exported in any format.*data-depend"):
        make_export(finished[0])
    assert list((tmp_path / "exported").iterdir()) == []


class Bessel(Named):
    def forward(self, images):
        vectors = torch.special.bessel_j0(self.first(images)).mean(dim=(2, 3))
        return {"penultimate": vectors, "logits": self.head(vectors)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_what_a_format_lacks_is_told(of_program, make_export, data, name, tmp_path):
    folder, program = of_program(export, "bessel.pt2", "report=false", kind=Bessel)
    level = logging.root.level
    with pytest.raises(
        ExportError, match=rf"format={name} cannot hold .*bessel_j0.*Choose format="
    ):
        make_export(folder, f"program={program}", f"format={name}")
    assert list((tmp_path / "exported").iterdir()) == []
    assert logging.root.level == level  # what is logged later is not lost
    report, exported = make_export(folder, f"program={program}", "format=torch_export")
    detector = fre_lightning.load(folder, device="cpu", program=program)
    check(report, exported, detector, data, "fre", folder)


def test_mistakes(finished, make_export, fitted_run):
    with pytest.raises(ConfigError, match="energi is none of the methods"):
        make_export(finished[0], "method=energi")
    with pytest.raises(ConfigError, match=r"no run of fre_lightning\.ood: leave out method"):
        make_export(fitted_run, "method=fre")
