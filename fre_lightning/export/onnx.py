"""The format ONNX."""

import io
import json
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.export import ExportedProgram

from fre_lightning.errors import ExportError
from fre_lightning.export.base import METADATA_KEY, Format, Images, Outputs, Runner, only_errors
from fre_lightning.export.graph import INPUT

_OPSET = 20
_MAX_BYTES = 2**31 - 2**20  # protobuf's limit, minus room for all that is not weights


class Onnx(Format):
    """ONNX, run by ONNX Runtime."""

    name: ClassVar[str] = "onnx"
    files: ClassVar[tuple[str, ...]] = ("model.onnx",)
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript", "onnxruntime")

    def write(self, program: ExportedProgram, folder: Path, about: Mapping[str, Any]) -> None:
        """Write one file.

        Raises:
            ExportError: If the weights are too large for one file.
        """
        tensors = {id(t): t for t in (*program.state_dict.values(), *program.constants.values())}
        n_bytes = sum(t.nbytes for t in tensors.values() if isinstance(t, torch.Tensor))
        if n_bytes > _MAX_BYTES:
            msg = (
                f"{n_bytes / 1e9:.1f} GB of weights do not fit into an ONNX file, which ends at "
                "2 GB. Use half_reducer=true, format=openvino, or fit fewer components."
            )
            raise ExportError(msg)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), only_errors("torch.onnx"):
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[INPUT],
                output_names=list(about["outputs"]),
                opset_version=_OPSET,
                verbose=False,
            )
        assert exported is not None
        exported.model.producer_name = "fre_lightning"
        exported.model.metadata_props[METADATA_KEY] = json.dumps(about)
        exported.save(folder / self.files[0], external_data=False)

    def load(self, path: Path) -> Runner:
        """Start a session of ONNX Runtime."""
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def run(images: Images) -> Outputs:
            scores, others = session.run(None, {INPUT: images})
            return scores, others

        return run
