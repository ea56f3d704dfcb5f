"""The file formats, by name."""

from collections.abc import Mapping

from fre_lightning.export.base import Format
from fre_lightning.export.onnx import Onnx
from fre_lightning.export.openvino import OpenVINO
from fre_lightning.export.torch_export import TorchExport

FORMATS: Mapping[str, Format] = {kind.name: kind() for kind in (Onnx, OpenVINO, TorchExport)}
