"""What `import fre_lightning` does and leaves alone, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKPOINT = Path(__file__).parent / "data/format-2.ckpt"
OPENMP = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def run_python(code: str, **variables: str) -> str:
    """What a fresh interpreter prints, its environment without OpenMP's variables but these."""
    kept = {name: value for name, value in os.environ.items() if name not in OPENMP}
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, env=kept | variables, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "2000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_openmp_threads_spin_shortly_unless_the_user_decides(variables, expected):
    code = "import os, fre_lightning; print(os.environ.get('GOMP_SPINCOUNT'))"
    assert run_python(code, **variables) == expected


def test_names_are_looked_up_when_they_are_asked_for():
    code = (
        "import sys, fre_lightning; names = dir(fre_lightning);"
        "print([name for name in fre_lightning.__all__ if name not in names]);"
        "print('torch' in sys.modules, 'hydra' in sys.modules);"
        "fre_lightning.compose('model=scattering'); print('torch' in sys.modules)"
    )
    assert run_python(code).splitlines() == ["[]", "False False", "False"]


@pytest.mark.parametrize(
    "module",
    [
        "predict.job",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "detector",
                "interface.runs",
                "serve.job",
                "export.job",
                "calibrate.job",
                "update.job",
            )
        ),
    ],
)
def test_a_detector_needs_nothing_heavy_that_it_does_not_use(module):
    code = (
        f"import sys, fre_lightning.{module};"
        f"fre_lightning.load({str(CHECKPOINT)!r})(numpy.zeros((8, 8), 'uint8'));"
        "heavy = {'pytorch_lightning', 'torchmetrics', 'tensorboard', 'timm'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    assert run_python(f"import numpy;{code}") == "[]"


def test_a_backbone_without_weights_needs_no_torchvision():
    code = (
        "import sys, fre_lightning.predict.job;"
        "from fre_lightning.backbones import Scattering;"
        "print('torchvision' in sys.modules, Scattering.__name__)"
    )
    assert run_python(code) == "False Scattering"
