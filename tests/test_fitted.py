import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fre_lightning.fitted import (
    FittedBuffers,
    copy_sharing_tensors,
    halved,
    rounded_to_half,
    state_digest,
    unhalved,
)


class Fitted(FittedBuffers):
    def __init__(self):
        super().__init__()
        self.add_buffers("first")
        self.add_buffers("second", "third")
        self.add_optional_buffers("fourth")


def test_buffers_of_any_shape_are_loaded():
    fitted, other = Fitted(), Fitted()
    fitted.first, fitted.third = torch.ones(2, 3), torch.ones(4, dtype=torch.int64)
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.first, fitted.first)
    assert torch.equal(other.third, fitted.third)
    assert other.second.shape == (0,)


def test_optional_buffers_are_stored_only_if_they_are_set():
    fitted, other = Fitted(), Fitted()
    assert "fourth" not in fitted.state_dict()
    other.load_state_dict(fitted.state_dict())
    assert other.fourth is None
    fitted.fourth = torch.ones(3, dtype=torch.bool)
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.fourth, fitted.fourth)


def test_the_digest_is_sha256_of_what_is_there():
    tensors = {"b": torch.arange(3, dtype=torch.int16), "a": torch.empty(0)}
    plain = b"a torch.float32 (0,);b torch.int16 (3,);\x00\x00\x01\x00\x02\x00"
    assert state_digest(tensors) == hashlib.sha256(plain).hexdigest()
    assert state_digest({"x": torch.tensor(1.0, dtype=torch.bfloat16)})
    assert state_digest({"x": torch.empty(0), "n": 7}) != state_digest({"x": torch.empty(0)})


def test_the_digest_in_a_stored_checkpoint_is_valid():
    content = torch.load(Path(__file__).parent / "data" / "format-2.ckpt", weights_only=True)
    stored = content["fre_lightning"]["weights_sha256"]
    assert state_digest(content["state_dict"]) == stored


def test_a_copy_shares_tensors_and_nothing_else():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    copied = copy_sharing_tensors(module)
    copied[1] = nn.Identity()
    assert isinstance(module[1], nn.BatchNorm2d)
    assert copied[0] is not module[0]
    assert copied[0].weight is module[0].weight


def test_halving_keeps_every_value_and_dtype():
    state = {
        "eighths": torch.arange(8) / 8,
        "thirds": torch.arange(8) / 3,
        "large": torch.tensor([1e5]),
        "integers": torch.arange(8),
        "extra": "state",
    }
    stored = halved(state)
    assert [k for k, v in stored.items() if getattr(v, "dtype", None) == torch.float16] == [
        "eighths"
    ]
    for name, value in unhalved(stored).items():
        assert value is state[name] or torch.equal(value, state[name])
        assert getattr(value, "dtype", None) == getattr(state[name], "dtype", None)


def test_rounding_takes_the_nearest_half_and_leaves_what_is_out_of_range():
    values = torch.tensor([1 / 3, -2e-4])
    expected = torch.tensor([float(np.float16(value)) for value in values.tolist()])
    assert torch.equal(rounded_to_half(values), expected)
    large = torch.tensor([1 / 3, 1e6])
    assert torch.equal(rounded_to_half(large), large)
