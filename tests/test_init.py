"""What `import fre_lightning` does and leaves alone, in a process of its own."""

import os
import subprocess
import sys

import pytest

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
