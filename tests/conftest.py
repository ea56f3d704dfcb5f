"""Small data and configurations: no network, no weights, nothing outside tmp_path."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import absl.logging
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from fre_lightning.cli import main
from fre_lightning.config import CONFIG_DIR
from fre_lightning.experiment import run

# OpenVINO imports absl, whose handler closes the stream it was made on once Hydra sets up logging:
# that of a program, never its stderr, but pytest's is another one for each test.
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__

SIZE = 32
TINY_MODEL = ("model=scattering", f"model.image_size={SIZE}", "model.n_scales=2")

Compose = Callable[..., DictConfig]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny tensors gain nothing from threads, and lose much while another process computes."""
    torch.set_num_threads(1)


def draw_part(rng: np.random.Generator, *, defect: bool) -> tuple[Image.Image, Image.Image]:
    """A striped texture with noise, and the mask of the bright square that may be on it."""
    rows = np.arange(SIZE)[:, None] + rng.integers(0, 4)
    pixels = 120 + 40 * np.sin(rows / 2.0) + rng.normal(0, 6, (SIZE, SIZE))
    mask = np.zeros((SIZE, SIZE), np.uint8)
    if defect:
        top, left = rng.integers(2, SIZE - 12, 2)
        mask[top : top + 8, left : left + 8] = 255
        pixels[mask > 0] += 50
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), Image.fromarray(mask)


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    """A root with one category `part` in MVTec layout: 16 to train on, 5 good, 3 + 3 defective."""
    return draw_mvtec(tmp_path / "mvtec")


@pytest.fixture
def deep_mvtec(mvtec: Path) -> Path:
    """The images of `mvtec` as those of a 12-bit camera, in 16-bit files."""
    for path in mvtec.glob("part/t*/*/*.png"):
        levels = np.asarray(Image.open(path)).astype(np.float64)
        Image.fromarray(np.rint(levels * 4095 / 255).astype(np.uint16)).save(path)
    return mvtec


def draw_mvtec(root: Path) -> Path:
    """Fill a folder in MVTec layout."""
    rng = np.random.default_rng(0)
    for folder, n, defect in (
        ("train/good", 16, False),
        ("test/good", 5, False),
        ("test/dent", 3, True),
        ("test/spot", 3, True),
    ):
        for i in range(n):
            image, mask = draw_part(rng, defect=defect)
            path = root / "part" / folder / f"{i:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
            if defect:
                mask_path = root / "part/ground_truth" / path.parent.name / f"{i:03d}_mask.png"
                mask_path.parent.mkdir(parents=True, exist_ok=True)
                mask.save(mask_path)
    return root


def draw_regions(root: Path, roi: Path) -> Path:
    """A region for each image below a folder: all but a block at one of three places."""
    rng = np.random.default_rng(0)
    for path in sorted(root.rglob("*.png")):
        levels = np.full((SIZE, SIZE), 255, np.uint8)
        left = 8 * rng.integers(3)
        levels[8:, left : left + 8] = 0
        region = roi / path.relative_to(root)
        region.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(region)
    return roi


@pytest.fixture
def settings(tmp_path: Path, mvtec: Path) -> list[str]:
    """Overrides for a run on `mvtec` that writes below tmp_path; of any model."""
    return make_settings(tmp_path, mvtec)


def make_settings(tmp_path: Path, mvtec: Path) -> list[str]:
    """Overrides for a run on a root in MVTec layout; of any model."""
    return [
        "dataset=mvtec",
        f"dataset.root={mvtec}",
        "dataset.category=part",
        "trainer=cpu",
        f"paths.cache_dir={tmp_path / 'cache'}",
        f"paths.data_dir={tmp_path / 'data'}",
    ]


@pytest.fixture
def make_config(tmp_path: Path, settings: list[str]) -> Compose:
    """Compose a configuration for a tiny run from overrides that come after `settings`."""

    def make(*overrides: str, model: Sequence[str] = TINY_MODEL) -> DictConfig:
        output = f"paths.output_dir={tmp_path / 'run'}"
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return compose("config", [*model, *settings, output, *overrides])

    return make


@pytest.fixture(scope="session")
def fitted_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, made once, not to be changed; its images are in `../mvtec/part`."""
    folder = tmp_path_factory.mktemp("fitted")
    settings = make_settings(folder, draw_mvtec(folder / "mvtec"))
    run_dir = folder / "run"
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        overrides = [*TINY_MODEL, *settings, "logger=none", "false_alarm_rate=0.2"]
        run(compose("config", [*overrides, f"paths.output_dir={run_dir}"]))
    return run_dir


@pytest.fixture(scope="session")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts like those of `fitted_run` on another, noisier day: 12 good, 6 defective."""
    folder, rng = tmp_path_factory.mktemp("later"), np.random.default_rng(5)
    for kind, n in (("good", 12), ("defective", 6)):
        (folder / kind).mkdir()
        for i in range(n):
            image, _ = draw_part(rng, defect=kind != "good")
            noisy = np.asarray(image) + rng.normal(0, 6, (SIZE, SIZE))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
                folder / kind / f"{i:02d}.png"
            )
    return folder


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Result]]:
    """Run the program in an empty folder; in this process, for importing torch takes seconds."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    handlers, level = logging.root.handlers[:], logging.root.level

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["fre_lightning", *arguments])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return Result(code, *capsys.readouterr())

    yield run
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def said(result: Result) -> str:
    """What was printed, in one line: the log is wrapped at the terminal's width."""
    return " ".join((result.stdout + result.stderr).split())
