"""File formats: how a captured graph is written, and how its file is run without this package."""

import importlib.util
import io
import json
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from fre_lightning.backbones.openvino_store import import_openvino
from fre_lightning.errors import ConfigError, ExportError
from fre_lightning.export.graph import INPUT, OUTPUTS

Images = NDArray[np.uint8]
Runner = Callable[[Images], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Maps `(N, H, W, 3)` uint8 images to scores `(N,)` and anomaly maps `(N, h, w)`."""

METADATA_KEY = "fre_lightning"
"""Where in a model file its description is kept, as JSON."""

_OPSET = 20
_ONNX_LIMIT = 2**31 - 2**20  # protobuf's, less what is not weights


class Format(ABC):
    """A file format.

    Attributes:
        name: As the command line calls it.
        files: What it writes; the first is the one to load.
        packages: What must be installed to write and check it.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]] = ()

    def check_installed(self) -> None:
        """Refuse before anything is computed.

        Raises:
            ConfigError: If a package is missing.
        """
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            msg = (
                f"format={self.name} needs {', '.join(missing)}: "
                f"`pip install {' '.join(missing)}`, or choose format=torch_export."
            )
            raise ConfigError(msg)

    @abstractmethod
    def write(self, program: ExportedProgram, folder: Path, about: Mapping[str, object]) -> None:
        """Write the files into a folder, with a description in them."""

    @abstractmethod
    def load(self, path: Path) -> Runner:
        """What runs a file on the CPU, in float32."""


class Onnx(Format):
    """ONNX, run by ONNX Runtime."""

    name: ClassVar[str] = "onnx"
    files: ClassVar[tuple[str, ...]] = ("model.onnx",)
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript", "onnxruntime")

    def write(self, program: ExportedProgram, folder: Path, about: Mapping[str, object]) -> None:
        """Write one file.

        Raises:
            ExportError: If the weights exceed what one file can hold.
        """
        tensors = {id(t): t for t in (*program.state_dict.values(), *program.constants.values())}
        n_bytes = sum(t.nbytes for t in tensors.values() if isinstance(t, torch.Tensor))
        if n_bytes > _ONNX_LIMIT:
            msg = (
                f"{n_bytes / 1e9:.1f} GB of weights do not fit into an ONNX file, which ends at "
                "2 GB. Use half_reducer=true, format=openvino, or fit fewer components."
            )
            raise ExportError(msg)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), _quiet("torch.onnx"):
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                opset_version=_OPSET,
                verbose=False,
            )
        assert exported is not None
        exported.model.producer_name = "fre_lightning"
        exported.model.metadata_props[METADATA_KEY] = json.dumps(about)
        exported.save(folder / self.files[0], external_data=False)

    def load(self, path: Path) -> Runner:
        """A session of ONNX Runtime."""
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def run(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            scores, anomaly_maps = session.run(list(OUTPUTS), {INPUT: images})
            return scores, anomaly_maps

        return run


class OpenVINO(Format):
    """OpenVINO's intermediate representation."""

    name: ClassVar[str] = "openvino"
    files: ClassVar[tuple[str, ...]] = ("model.xml", "model.bin")
    packages: ClassVar[tuple[str, ...]] = ("openvino",)

    def write(self, program: ExportedProgram, folder: Path, about: Mapping[str, object]) -> None:
        """Write the network and its weights, which are not to be rounded to half precision."""
        ov = import_openvino()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ov.convert_model(program)
        model.inputs[0].get_tensor().set_names({INPUT})
        for output, name in zip(model.outputs, OUTPUTS, strict=True):
            output.get_tensor().set_names({name})
        _store_transposes_once(model)
        model.set_rt_info(json.dumps(about), METADATA_KEY)
        ov.save_model(model, folder / self.files[0], compress_to_fp16=False)

    def load(self, path: Path) -> Runner:
        """A compiled model that computes in float32; some CPUs' default is less."""
        ov = import_openvino()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        compiled = ov.Core().compile_model(path, "CPU", settings)

        def run(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            results = compiled({INPUT: images})
            scores, anomaly_maps = (results[name] for name in OUTPUTS)
            return scores, anomaly_maps

        return run


class TorchExport(Format):
    """PyTorch's own archive of a graph, which `torch.export.load` reads."""

    name: ClassVar[str] = "torch_export"
    files: ClassVar[tuple[str, ...]] = ("model.pt2",)

    def write(self, program: ExportedProgram, folder: Path, about: Mapping[str, object]) -> None:
        """Write one archive, with the description as an extra file in it."""
        extra = {f"{METADATA_KEY}.json": json.dumps(about)}
        with _quiet("torch.export"):
            torch.export.save(program, folder / self.files[0], extra_files=extra)

    def load(self, path: Path) -> Runner:
        """The graph as a module."""
        module = torch.export.load(path).module()

        def run(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            with torch.no_grad():
                scores, anomaly_maps = module(
                    torch.from_numpy(np.require(images, requirements="W"))
                )
            return scores.numpy(), anomaly_maps.numpy()

        return run


FORMATS: Mapping[str, Format] = {kind.name: kind() for kind in (Onnx, OpenVINO, TorchExport)}


class _quiet:  # noqa: N801 - reads as what it does
    """Mutes what a library logs below an error while the body runs."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)


def _store_transposes_once(model: Any) -> None:
    """Let products share a large matrix that OpenVINO's converter stores both ways."""
    from openvino import opset13 as operators

    kept: list[Any] = []
    for product in model.get_ordered_ops():
        if product.get_type_name() != "MatMul":
            continue
        matrix = product.input_value(1).get_node()
        if not _is_large_constant(matrix):
            continue
        same = (m for m in kept if np.array_equal(m.data.T, matrix.data))
        if other := next(same, None):
            settings = product.get_attributes()
            shared = operators.matmul(
                product.input_value(0),
                other,
                settings["transpose_a"],
                not settings["transpose_b"],
            )
            product.output(0).replace(shared.output(0))
        else:
            kept.append(matrix)


def _is_large_constant(node: Any) -> bool:
    return bool(
        node.get_type_name() == "Constant" and node.data.ndim == 2 and node.data.size > 2**12
    )
