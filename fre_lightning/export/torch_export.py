"""The format of `torch.export`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.export import ExportedProgram

from fre_lightning.export.base import METADATA_KEY, Format, Images, Outputs, Runner, only_errors


class TorchExport(Format):
    """PyTorch's own archive of a graph, for `torch.export.load`."""

    name: ClassVar[str] = "torch_export"
    files: ClassVar[tuple[str, ...]] = ("model.pt2",)

    def write(self, program: ExportedProgram, folder: Path, about: Mapping[str, Any]) -> None:
        """Write one archive, with the description as an extra file in it."""
        extra = {f"{METADATA_KEY}.json": json.dumps(about)}
        with only_errors("torch.export"):
            torch.export.save(program, folder / self.files[0], extra_files=extra)

    def load(self, path: Path) -> Runner:
        """Load the graph as a module."""
        module = torch.export.load(path).module()

        def run(images: Images) -> Outputs:
            with torch.no_grad():
                outputs = module(torch.from_numpy(np.require(images, requirements="W")))
            scores, others = (output.numpy() for output in outputs)
            return scores, others

        return run
