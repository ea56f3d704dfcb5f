"""The benchmark runs, and the published procedure written out plainly agrees with the program."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts/benchmark.py"
KEYS = {"ratio_cold", "ratio_warm", "ratio_ae_fit", "scattering_ms", "peak_memory_mb"}


@pytest.mark.slow
def test_both_sides_agree_on_the_same_images(tmp_path):
    sizes = ["--n-train=16", "--n-test=24", "--size=96", "--image-size=96"]
    options = ["--skip=scaling", "--engine=eager", f"--data-dir={tmp_path}"]
    command = [sys.executable, str(SCRIPT), *sizes, *options, f"--json={tmp_path / 'b.json'}"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    numbers = json.loads((tmp_path / "b.json").read_text())
    assert set(numbers) >= KEYS
    assert numbers["pca_image_auroc"] == pytest.approx(numbers["published_pca_image_auroc"])
    pixel = numbers["published_pca_pixel_auroc"]
    assert numbers["pca_pixel_auroc"] == pytest.approx(pixel, abs=1e-3)
