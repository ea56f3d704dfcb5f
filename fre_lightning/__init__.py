"""Feature Reconstruction Error (FRE): find visual defects from defect-free images alone.

`detector = fre_lightning.fit(folder)` learns from images of good parts, `detector(image)` judges an
image, and `.show()` shows the result. `fre_lightning.load(path)` loads a fitted detector.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from fre_lightning.errors import Stops
from fre_lightning.version import __version__

if TYPE_CHECKING:
    from fre_lightning.detector import DetectionResult, Detector
    from fre_lightning.interface.composition import compose
    from fre_lightning.interface.estimator import FREDetector
    from fre_lightning.interface.runs import evaluate, fit
    from fre_lightning.ood.loading import load

# Threads of OpenMP spin while they wait, on cores that another program could use: two jobs on the
# same cores then take four times as long as one. libgomp reads this once, when torch is imported.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "2000"

# A command of this package begins: a stop during its imports shall end it without a traceback. A
# program that only uses the package keeps its own handlers.
_is_module = sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)].startswith(__name__)
if _is_module or os.path.basename("".join(sys.argv[:1])).startswith("fre-lightning"):  # noqa: PTH119
    Stops(in_order=False).__enter__()

_ROOMS = {
    "DetectionResult": "detector",
    "Detector": "detector",
    "FREDetector": "interface.estimator",
    "load": "ood.loading",
    "compose": "interface.composition",
    "evaluate": "interface.runs",
    "fit": "interface.runs",
}

__all__ = [
    "DetectionResult",
    "Detector",
    "FREDetector",
    "__version__",
    "compose",
    "evaluate",
    "fit",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import what computes when it is first asked for: torch takes seconds."""
    if name not in _ROOMS:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"fre_lightning.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    """The names that notebooks complete, looked up or not."""
    return [*globals(), *_ROOMS]
