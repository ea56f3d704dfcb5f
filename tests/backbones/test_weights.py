import pickle
import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from fre_lightning.errors import BackboneError
from tests.backbones.test_torchvision import make


@pytest.fixture
def network():
    torch.manual_seed(5)
    return get_model("resnet18", weights=None).eval()


def test_safetensors_and_missing_keys_above_the_layer(network, tmp_path):
    state = {k: v for k, v in network.state_dict().items() if not k.startswith(("layer4", "fc"))}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "part.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "part.pth")
    fingerprints = set()
    for name in ("part.safetensors", "part.pth"):
        backbone = make(str(tmp_path / name))
        backbone.load_weights()
        assert backbone.weights_label == name
        fingerprints.add(backbone.fingerprint("layer1")["weights"])
    assert len(fingerprints) == 1  # the content counts, not the file


def test_a_missing_key_below_the_layer(network, tmp_path):
    state = network.state_dict()
    del state["layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "holes.pth")
    with pytest.raises(BackboneError, match=r"layer1\.0\.conv1\.weight"):
        make(str(tmp_path / "holes.pth")).load_weights()


@pytest.mark.parametrize("other", ["squeezenet1_0", "resnet50"])
def test_weights_of_another_architecture(other, tmp_path):
    torch.save(get_model(other, weights=None).state_dict(), tmp_path / "other.pth")
    with pytest.raises(BackboneError, match="does not fit resnet18"):
        make(str(tmp_path / "other.pth")).load_weights()


def test_a_file_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BackboneError, match="cannot be read as weights"):
        make(str(tmp_path / "evil.pth")).load_weights()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors"])
def test_no_such_file(tmp_path, name):
    with pytest.raises(BackboneError, match="no weights file"):
        make(str(tmp_path / name)).load_weights()


def test_offline_it_says_where_to_put_the_file(monkeypatch, tmp_path):
    def refuse(*_args, **_kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(BackboneError, match=r"(?s)resnet18-\w+\.pth.*model=scattering") as caught:
        make("IMAGENET1K_V1").load_weights()
    assert str(tmp_path / "hub" / "checkpoints") in str(caught.value)


def test_an_unknown_weights_name_lists_those_there_are():
    with pytest.raises(BackboneError, match="IMAGENET1K_V1"):
        make("IMAGENET9").load_weights()
