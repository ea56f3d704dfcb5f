"""Whole exports of tiny detectors, compared with what the checkpoint gives."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

import fre_lightning
from fre_lightning.backbones import Scattering
from fre_lightning.config import CONFIG_DIR
from fre_lightning.detector.builder import restore_model
from fre_lightning.detector.checkpoint import read_checkpoint
from fre_lightning.errors import ExportError, FREError
from fre_lightning.experiment import run as train
from fre_lightning.export.job import FORMATS, run
from fre_lightning.export.torch_export import TorchExport
from fre_lightning.images.resizing import resize

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

RESNET = (
    "model=resnet18",
    "model.image_size=64",
    "model.layers=layer1",
    "model.pool=2",
    "model.weights=random",
)
ONE_SCALE = ("model=scattering", "model.image_size=32", "model.n_scales=1")
EXPORT_PAGE = Path(__file__).parents[2] / "docs/export.md"


@pytest.fixture
def make_export(tmp_path):
    def make(*overrides):
        settings = [
            f"checkpoint={tmp_path / 'run'}",
            f"paths.output_dir={tmp_path / 'exported'}",
            "n_images=5",
            "latency_repeats=1",
            "latency_batch=2",
        ]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return compose("export", [*settings, *overrides])

    return make


def test_a_backbone_that_looks_at_its_images_is_told(
    fitted_run, make_export, monkeypatch, tmp_path
):
    whole = Scattering.features

    def branch(self, images, layers=None):
        return whole(self, images if images.float().mean() > 3 else images // 2, layers)

    monkeypatch.setattr(Scattering, "features", branch)
    with pytest.raises(ExportError, match="cannot be exported in any format"):
        run(make_export(f"checkpoint={fitted_run}"))
    assert list((tmp_path / "exported").iterdir()) == []


def draw(height, width, n=2):
    rows = np.arange(height)[:, None, None] / 2
    noise = np.random.default_rng(0).normal(0, 12, (n, height, width, 3))
    return np.clip(120 + 40 * np.sin(rows) + noise, 0, 255).astype(np.uint8)


def detect(cfg, folder, images):
    """What the checkpoint says of images, without any of the export's code."""
    module = restore_model(read_checkpoint(folder))
    planes = [resize(image, module.image_size) for image in images]
    with torch.inference_mode():
        return [tensor.numpy() for tensor in module(torch.stack(planes))]


@pytest.mark.parametrize(
    "name", ["onnx", *(pytest.param(name, marks=pytest.mark.slow) for name in list(FORMATS)[1:])]
)
def test_a_file_gives_the_checkpoints_scores_at_any_size(make_config, make_export, tmp_path, name):
    cfg = make_config("scoring=topk", model=RESNET)
    train(cfg)
    report = run(make_export(f"format={name}"))
    folder = tmp_path / "exported"
    n_bytes = sum(facts["bytes"] for facts in report["files"].values())
    weights = read_checkpoint(tmp_path / "run").state_dict
    n_of_weights = sum(value.nbytes for value in weights.values() if torch.is_tensor(value))
    assert n_bytes < n_of_weights + 1e6  # nothing is stored twice; graphs take some, too
    assert json.loads((folder / "export.json").read_text()) == report
    for file, facts in report["files"].items():
        content = (folder / file).read_bytes()
        assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    exported = FORMATS[name].load(folder / FORMATS[name].files[0])
    tolerance = 1e-4
    for images in (draw(50, 41), draw(64, 64, 3), draw(33, 70, 1)):
        scores, anomaly_maps = exported(images)
        expected_scores, expected_maps = detect(cfg, tmp_path / "run", images)
        np.testing.assert_allclose(scores, expected_scores, rtol=tolerance)
        np.testing.assert_allclose(
            anomaly_maps, expected_maps, atol=tolerance * expected_maps.max()
        )
    module = restore_model(read_checkpoint(tmp_path / "run"))
    thresholds = module.calibration.thresholds(cfg.false_alarm_rate)
    assert (report["threshold"], report["pixel_threshold"]) == thresholds[:2]
    assert (report["scoring"], report["false_alarm_rate"]) == ("topk", 0.05)
    assert report["parity"]["images"] == "the run's test images"
    assert report["parity"]["score_difference"] <= 1e-4
    assert report["latency"]["exported_single_ms"] > 0
    assert read_metadata(name, folder)["threshold"] == report["threshold"]
    check_readmes_example(name, cfg, tmp_path / "run", folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_oblong_images_are_seen_in_their_own_ratio(make_config, make_export, mvtec, name):
    for path in mvtec.rglob("*.png"):
        Image.open(path).resize((96, 32), Image.Resampling.NEAREST).save(path)
    cfg = make_config("aspect=keep", model=ONE_SCALE)
    train(cfg)
    report = run(make_export(f"format={name}"))
    assert report["image_size"] == [20, 56]  # of 18.5 x 55.4 pixels, in cells of 4
    assert report["parity"]["score_difference"] <= 1e-4
    folder = Path(cfg.paths.output_dir).parent / "exported"
    images = draw(30, 90)
    for found, expected in zip(
        FORMATS[name].load(folder / FORMATS[name].files[0])(images),
        detect(cfg, cfg.paths.output_dir, images),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def read_metadata(name, folder):
    """The description in a file, as its format's own library reads it."""
    if name == "onnx":
        import onnx

        onnx.checker.check_model(folder / "model.onnx")
        properties = onnx.load(folder / "model.onnx").metadata_props
        return json.loads(next(p.value for p in properties if p.key == "fre_lightning"))
    if name == "openvino":
        import openvino

        model = openvino.Core().read_model(folder / "model.xml")
        return json.loads(model.get_rt_info("fre_lightning").astype(str))
    extra = {"fre_lightning.json": ""}
    torch.export.load(folder / FORMATS[name].files[0], extra_files=extra)
    return json.loads(extra["fre_lightning.json"])


def check_readmes_example(name, cfg, run_dir, folder):
    """Run it as written, where this package cannot be imported."""
    images = draw(45, 60, 1)
    Image.fromarray(images[0]).save(folder / "part.png")
    hide = "import sys; sys.modules['fre_lightning'] = None\n"
    command = [sys.executable, "-c", hide + examples()[name]]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    expected, _ = detect(cfg, run_dir, images)
    score, called, shape = shown.stdout.split(maxsplit=2)
    assert float(score) == pytest.approx(
        float(expected[0]), rel=5e-3 if name == "openvino" else 1e-4
    )
    report = json.loads((folder / "export.json").read_text())
    assert called == str(float(score) > report["threshold"])
    assert shape.strip() == "(1, 64, 64)"


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        (RESNET, ["reducer=ae"]),
        pytest.param(RESNET, ["reducer=tae", "scoring=topk"], marks=pytest.mark.slow),
        pytest.param(ONE_SCALE, ["model.compression=cbrt", "scoring=topk"], marks=pytest.mark.slow),
        pytest.param(
            ONE_SCALE,
            ["tiling.blocks=[2,2]", "reducer=ae", "scoring=topk"],
            marks=pytest.mark.slow,
        ),
        pytest.param(ONE_SCALE, ["model.compression=log"], marks=pytest.mark.slow),
        pytest.param(ONE_SCALE, ["model.compression=sqrt", "model.pool=2"], marks=pytest.mark.slow),
    ],
)
def test_every_part_of_a_detector_exports(make_config, make_export, model, overrides):
    train(make_config(*overrides, model=model))
    report = run(make_export("format=torch_export", "resize=false"))
    assert report["parity"]["score_difference"] <= 1e-4
    assert report["parity"]["map_difference"] <= 1e-4
    assert report["input"]["size"] == report["image_size"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_scattering_exports(make_config, make_export, name):
    train(make_config("scoring=topk"))
    report = run(make_export(f"format={name}"))
    assert report["parity"]["score_difference"] <= 1e-4
    assert report["parity"]["map_difference"] <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ("efficientnet_b5", "features.3"),
        ("efficientnet_lite0", "blocks.4"),
        ("vgg16", "features.23"),
        ("wide_resnet50_2", "layer2"),
        ("resnet18", "layer3"),
        ("timm model.name=test_efficientnet", "2"),
        ("timm model.name=vit_tiny_patch16_224", "3"),
    ],
)
def test_networks_export(make_config, make_export, name, model, layer):
    choice = f"model={model}".split()
    train(make_config(model=(*choice, f"model.layers={layer}", RESNET[1], *RESNET[3:])))
    report = run(make_export(f"format={name}", "n_images=4"))
    assert report["parity"]["score_difference"] <= 1e-4
    assert report["parity"]["map_difference"] <= 1e-4


def test_a_fixed_input_size_is_exact(make_config, make_export, tmp_path):
    cfg = make_config(model=RESNET)
    train(cfg)
    report = run(make_export("format=torch_export", "input_size=[60,45]"))
    assert report["input"]["shape"] == ["N", 60, 45, 3]
    images = draw(60, 45)
    scores, _ = FORMATS["torch_export"].load(tmp_path / "exported/model.pt2")(images)
    expected, _ = detect(cfg, tmp_path / "run", images)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch_export", "onnx", "openvino"])
def test_half_precision_halves_the_reducer(make_config, make_export, name):
    train(make_config(model=RESNET))
    sizes = [
        sum(
            facts["bytes"]
            for facts in run(make_export(f"format={name}", "resize=false", half))["files"].values()
        )
        for half in ("half_reducer=false", "half_reducer=true")
    ]
    state = read_checkpoint(make_export().checkpoint).state_dict
    n_bytes = sum(value.nbytes for key, value in state.items() if key.endswith("encoder_weight"))
    assert sizes[0] - sizes[1] == pytest.approx(n_bytes / 2, rel=0.1)


def test_a_file_that_misses_the_tolerance_is_not_left_behind(make_config, make_export, tmp_path):
    train(make_config(model=RESNET))
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / "model.pt2").write_text("an earlier one")
    with pytest.raises(ExportError, match="tolerance=0 allows less"):
        run(make_export("format=torch_export", "resize=false", "tolerance=0"))
    assert [path.name for path in folder.iterdir()] == ["model.pt2"]
    assert (folder / "model.pt2").read_text() == "an earlier one"


def test_a_wrong_network_is_found_out(make_config, make_export, tmp_path, monkeypatch):
    train(make_config(model=RESNET))
    load = TorchExport.load

    def spoilt(self, path):
        exported = load(self, path)
        return lambda images: exported(images[:, ::-1].copy())  # upside down

    monkeypatch.setattr(TorchExport, "load", spoilt)
    with pytest.raises(ExportError, match="No file is left behind"):
        run(make_export("format=torch_export", "resize=false"))
    assert list((tmp_path / "exported").iterdir()) == []


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("format=tflite", "choose one of onnx, openvino, torch_export"),
        ("input_size=[1,2,3]", "height, width"),
        ("false_alarm_rate=2", "between 0 and 1"),
        ("n_images=2", "There is no checkpoint"),
    ],
)
def test_mistakes_are_told(make_export, override, words):
    with pytest.raises(FREError, match=words):
        run(make_export(override))


def test_a_folder_without_images_is_told(make_config, make_export):
    train(make_config())
    with pytest.raises(FREError, match="there are no images"):
        run(make_export("images=nowhere"))


def test_drawn_images_stand_in_for_a_dataset_that_is_gone(make_config, make_export, tmp_path):
    train(make_config(model=RESNET))
    (tmp_path / "run/config.yaml").unlink()
    report = run(make_export("format=torch_export", "resize=false", "false_alarm_rate=0.2"))
    assert report["parity"]["images"] == "drawn"
    assert report["false_alarm_rate"] == 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "is_drawn"), [("torch_export", False), *((name, True) for name in FORMATS)]
)
def test_deep_images_are_given_in_their_own_units(
    make_config, make_export, deep_mvtec, tmp_path, name, is_drawn
):
    train(make_config())
    if is_drawn:
        (tmp_path / "run/config.yaml").unlink()
    report = run(make_export(f"format={name}"))
    assert (report["intensity"], report["input"]["dtype"]) == ([0.0, 4095.0], "float32")
    path = deep_mvtec / "part/test/dent/000.png"
    values = np.array(Image.open(path)).astype(np.float32)
    exported = FORMATS[name].load(tmp_path / "exported" / FORMATS[name].files[0])
    scores, _ = exported(np.repeat(values[None, ..., None], 3, axis=3))
    expected = fre_lightning.load(tmp_path / "run", device="cpu")(path).score
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def examples():
    """The page's examples, by the name of the format."""
    blocks = re.findall(r"```python\n(.*?)```", EXPORT_PAGE.read_text(), flags=re.DOTALL)
    files = {name: file_format.files[0] for name, file_format in FORMATS.items()}
    return {name: code for code in blocks for name, file in files.items() if f'"{file}"' in code}
