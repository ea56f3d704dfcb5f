import subprocess
import sys

import pytest

PROGRAM = """
from fre_lightning.reducers.memory import release
import torch

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

torch.zeros(30 * 2**18)  # glibc keeps pieces of this size from the second one on
pieces = [torch.zeros(20 * 2**18) for _ in range(20)]
last = pieces[-1]
del pieces
kept = resident()
release()
print(kept - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone keeps pieces")
def test_freed_pieces_below_others_go_back():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert float(done.stdout) > 300  # of 380 MB
