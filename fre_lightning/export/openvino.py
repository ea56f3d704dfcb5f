"""The format of OpenVINO."""

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch.export import ExportedProgram

from fre_lightning.backbones.openvino_store import import_openvino
from fre_lightning.export.base import METADATA_KEY, Format, Images, Outputs, Runner
from fre_lightning.export.graph import INPUT


class OpenVINO(Format):
    """OpenVINO's intermediate representation."""

    name: ClassVar[str] = "openvino"
    files: ClassVar[tuple[str, ...]] = ("model.xml", "model.bin")
    packages: ClassVar[tuple[str, ...]] = ("openvino",)

    def write(self, program: ExportedProgram, folder: Path, about: Mapping[str, Any]) -> None:
        """Write the network and its weights, not rounded to half precision."""
        ov = import_openvino()
        level = logging.root.level
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = ov.convert_model(program)
        finally:
            logging.root.setLevel(level)  # the converter leaves its own there when it fails
        model.inputs[0].get_tensor().set_names({INPUT})
        for output, name in zip(model.outputs, about["outputs"], strict=True):
            output.get_tensor().set_names({name})
        _store_transposes_once(model)
        model.set_rt_info(json.dumps(about), METADATA_KEY)
        ov.save_model(model, folder / self.files[0], compress_to_fp16=False)

    def load(self, path: Path) -> Runner:
        """Compile the network to compute in float32; some CPUs' default is less."""
        ov = import_openvino()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "CPU_RUNTIME_CACHE_CAPACITY": "0",  # else it keeps more of each new size of images
        }
        compiled = ov.Core().compile_model(path, "CPU", settings)

        def run(images: Images) -> Outputs:
            results = compiled({INPUT: images})
            scores, others = (results[output] for output in compiled.outputs)
            return scores, others

        return run


def _store_transposes_once(model: Any) -> None:
    """Let products share a large matrix that OpenVINO's converter stores both ways."""
    from openvino import opset13 as operators

    kept: list[Any] = []
    for product in (op for op in model.get_ordered_ops() if op.get_type_name() == "MatMul"):
        left, right = (product.input_value(i) for i in (0, 1))
        matrix = right.get_node()
        is_constant = matrix.get_type_name() == "Constant"
        if not is_constant or matrix.data.ndim != 2 or matrix.data.size < 2**12:
            continue
        other = next((m for m in kept if np.array_equal(m.data.T, matrix.data)), None)
        if other is None:
            kept.append(matrix)
        else:
            flags = product.get_attributes()
            transposes = flags["transpose_a"], not flags["transpose_b"]
            shared = operators.matmul(left, other, *transposes)
            product.output(0).replace(shared.output(0))
