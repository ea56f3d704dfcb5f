"""Classifiers that are programs, against the networks that they were made of."""

import warnings

import pytest
import torch
from torch import nn

from fre_lightning.detector.checkpoint import PAYLOAD_KEY
from fre_lightning.errors import BackboneError, CheckpointError, ConfigError
from fre_lightning.ood.loading import load_ood
from fre_lightning.ood.networks import SmallClassifier
from fre_lightning.ood.programs import ProgramClassifier
from tests.ood.conftest import read

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]


class Named(nn.Module):
    """A small network that gives a map, tokens, a vector and logits."""

    def __init__(self, n_classes=5):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, n_classes)
        self.drop = nn.Dropout(0.5)

    def forward(self, images):
        maps = self.first(images)
        vectors = maps.mean(dim=(2, 3))
        logits = self.head(self.drop(vectors))
        tokens = maps.flatten(2).mT
        return {"maps": maps, "tokens": tokens, "penultimate": vectors, "logits": logits}


class Ordered(Named):
    def forward(self, images):
        return tuple(super().forward(images).values())


class Alone(Named):
    def forward(self, images):
        return super().forward(images)["logits"]


class Flat(Named):
    def forward(self, images):
        return {key: value.sum() for key, value in super().forward(images).items()}


def script(network, path, size=16):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, size, size), strict=False), path)


def export(network, path, size=16, free=True):
    shapes = ({0: torch.export.Dim("n")},) if free else None
    example = torch.zeros(2, 3, size, size)
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), path)


def make(path, layers="penultimate", size=16, sha256=None, pool=None, head=None):
    return ProgramClassifier(str(path), sha256, layers, pool, head, size, MEAN, STD, 3)


def make_network(kind=Named):
    torch.manual_seed(3)
    network = kind()
    network.first[1].running_mean.uniform_(-1, 1)
    return network.eval()


@pytest.mark.parametrize("save", [script, export])
@pytest.mark.parametrize("kind", [Named, Ordered])
def test_vectors_and_logits_are_those_of_the_network(save, kind, tmp_path):
    network = make_network(kind)
    save(network, tmp_path / "mine.pt2")
    layers = ["maps", "tokens", "penultimate"] if kind is Named else [0, 1, 2]
    classifier = make(tmp_path / "mine.pt2", layers)
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    pixels = (images / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.inference_mode():
        maps = network.first(pixels)
        vectors = maps.mean(dim=(2, 3))
        expected = [vectors, vectors, vectors, network.head(vectors)]
        for found, each in zip(classifier.features(images), expected, strict=True):
            torch.testing.assert_close(found, each, rtol=1e-4, atol=1e-5)
        only = classifier.features(images, [str(layers[0])])
    assert len(only) == 1
    assert classifier.layers[-1] == "logits"
    assert (classifier.n_classes, classifier.name) == (5, "mine")
    assert not classifier.state_dict()


@pytest.mark.parametrize("save", [script, export])
def test_maps_of_programs_are_averaged_over_windows(save, tmp_path):
    network = make_network()
    save(network, tmp_path / "mine.pt2")
    classifier = make(tmp_path / "mine.pt2", ["maps", "tokens", "penultimate"], pool=4)
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    pixels = (images / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.inference_mode():
        maps = network.first(pixels)[..., :12, :12]  # 14 x 14, of which two do not fill a window
        expected = maps.reshape(3, 4, 3, 4, 3, 4).mean(dim=(3, 5)).flatten(1)
        found, tokens, vectors, _ = classifier.features(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert tokens.shape == vectors.shape == (3, 4)
    with pytest.raises(ConfigError, match=r"pool=15 is too large for the maps of maps.*14x14"):
        make(tmp_path / "mine.pt2", ["maps"], pool=15)
    with pytest.raises(ConfigError, match="and penultimate of mine is no map"):
        make(tmp_path / "mine.pt2", pool=2)


@pytest.mark.parametrize("save", [script, export])
def test_the_head_can_be_named(save, tmp_path):
    network = make_network(Ordered)
    save(network, tmp_path / "mine.pt2")
    classifier = make(tmp_path / "mine.pt2", [0, 2], head=["head.weight", "head.bias"], pool=4)
    assert classifier.head_layer == "2"  # not the map in windows
    torch.testing.assert_close(classifier.head.weight, network.head.weight.detach())
    torch.testing.assert_close(classifier.head.bias, network.head.bias.detach())
    assert make(tmp_path / "mine.pt2", 2).head_layer is None
    for head, words in (
        (["head.weights", "head.bias"], r"whose matrices are head\.weight"),
        (["head.bias"], "must be the names of the head's weight and bias"),
        (["head.weight"], "is not the head of .*mine.pt2: what it gives for 0, 2"),
    ):
        with pytest.raises(BackboneError, match=words):
            make(tmp_path / "mine.pt2", [0, 2], head=head, pool=4)


def test_features_depend_on_the_program_and_the_pixels(tmp_path):
    for seed, name in ((0, "a.pt"), (1, "b.pt")):
        torch.manual_seed(seed)
        script(Named().eval(), tmp_path / name)
    (tmp_path / "c").mkdir()
    (tmp_path / "b.pt").rename(tmp_path / "c/a.pt")  # another program of the same name
    paths = [str(tmp_path / name) for name in ("a.pt", "a.pt", "c/a.pt")]
    means = [MEAN, STD, MEAN]
    programs = (
        ProgramClassifier(path, None, "maps", None, None, 16, mean, STD, 3)
        for path, mean in zip(paths, means, strict=True)
    )
    keys = [str(program.fingerprint("maps")) for program in programs]
    assert len({*keys}) == 3


@pytest.mark.parametrize(
    ("kind", "layers", "words"),
    [
        (Named, "layer3", "gives maps, tokens, penultimate, logits, not layer3"),
        (Ordered, "penultimate", "gives 0, 1, 2, logits, not penultimate"),
        (Alone, "penultimate", "gives no tensors, not penultimate"),
        (Flat, "maps", r"gives maps of \(\) for two images"),
    ],
)
def test_programs_that_give_something_else(kind, layers, words, tmp_path):
    export(make_network(kind), tmp_path / "mine.pt2")
    with pytest.raises(BackboneError, match=words):
        make(tmp_path / "mine.pt2", layers)


def test_programs_that_take_something_else(tmp_path):
    export(make_network(), tmp_path / "pair.pt2", free=False)
    with pytest.raises(BackboneError, match="does not take one and two images of 16x16"):
        make(tmp_path / "pair.pt2")
    export(make_network(), tmp_path / "mine.pt2")
    with pytest.raises(BackboneError, match="does not take one and two images of 20x20"):
        make(tmp_path / "mine.pt2", size=20)
    export(make_network().train(), tmp_path / "training.pt2")
    with pytest.raises(BackboneError, match=r"network\.eval\(\)"):
        make(tmp_path / "training.pt2")


def test_files_that_are_no_programs(tmp_path):
    with pytest.raises(BackboneError, match=r"none\.pt2 cannot be read"):
        make(tmp_path / "none.pt2")
    (tmp_path / "words.pt").write_text("no archive")
    with pytest.raises(BackboneError, match="cannot be loaded as a program"):
        make(tmp_path / "words.pt")
    torch.save(Named().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(BackboneError, match="classifier=torchvision"):
        make(tmp_path / "weights.pth")
    script(make_network(), tmp_path / "mine.pt")
    with pytest.raises(BackboneError, match="not the program of the checksum"):
        make(tmp_path / "mine.pt", sha256="0" * 64)


class Whole(nn.Module):
    """The network of a run, as someone else would save it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        maps = self.network.blocks(images)
        vectors = self.network.pool(maps).flatten(1)
        return {"penultimate": vectors, "logits": self.network.head(vectors)}


@pytest.fixture(scope="module")
def program(finished):
    folder, _ = finished
    small = SmallClassifier("penultimate", None, 8, str(folder / "classifier.pth"), 4, 0, 3)
    network = small.build_whole()
    network.load_state_dict(torch.load(folder / "classifier.pth"))
    path = folder / "program.pt2"
    export(Whole(network.eval()), path, size=8)
    return path


def test_a_run_on_a_program_is_one_on_its_network(finished, program, call, data):
    folder, _ = finished
    half = "[0.5,0.5,0.5]"
    settings = [f"classifier.file={program}", f"classifier.mean={half}", f"classifier.std={half}"]
    summary = call("program", "classifier=program", *settings)
    assert summary["weights"] == "program.pt2"
    pairs = zip(read(folder / "scores.csv"), read(data / "program/scores.csv"), strict=True)
    keys = ["fre", "fre_by_class", "msp", "max_logit", "energy", "mahalanobis", "knn"]
    for expected, found in pairs:
        assert found["path"] == expected["path"]
        for key in keys:
            assert float(found[key]) == pytest.approx(float(expected[key]), rel=1e-3, abs=1e-4)
    assert "react" not in found  # the head is not known
    assert "vim" not in found

    named = "classifier.head=[network.head.weight,network.head.bias]"
    call("headed", "classifier=program", *settings, named, "decide_by=vim", "report=false")
    pairs = zip(read(folder / "scores.csv"), read(data / "headed/scores.csv"), strict=True)
    for expected, found in pairs:
        for key in ("react", "vim"):
            assert float(found[key]) == pytest.approx(float(expected[key]), rel=1e-3, abs=1e-3)
    detector = load_ood(data / "headed", program=program)
    assert detector(data / "noise/00.png").score == pytest.approx(
        load_ood(folder, method="vim")(data / "noise/00.png").score, rel=1e-3
    )
    content = torch.load(data / "program/model.ckpt", weights_only=True)
    for key in ("pool", "head"):
        del content[PAYLOAD_KEY]["config"]["classifier"][key]
    torch.save(content, data / "older.ckpt")
    older = load_ood(data / "older.ckpt", program=program)
    path = data / "noise/00.png"
    assert older(path) == load_ood(data / "program", program=program)(path)

    with pytest.raises(BackboneError, match=r"program\.pt2, which is code.*program=FILE"):
        load_ood(data / "program")
    other = SmallClassifier("penultimate", None, 8, "random", 4, 1, 3)
    export(Whole(other.build_whole()), data / "o.pt2")
    with pytest.raises(BackboneError, match="not the program of the checksum"):
        load_ood(data / "program", program=data / "o.pt2")
    known, others = load_ood(folder), load_ood(data / "program", program=program)
    for path in sorted((data / "noise").iterdir())[:5]:
        one, other = known(path), others(path)
        assert (one.label, one.is_unknown) == (other.label, other.is_unknown)
        assert other.score == pytest.approx(one.score, rel=1e-3)


def test_a_checkpoint_cannot_ask_for_a_program(finished, program, tmp_path):
    content = torch.load(finished[0] / "model.ckpt", weights_only=True)
    settings = {"file": str(program), "sha256": None, "layers": "penultimate", "pool": None}
    settings |= {"image_size": 8}
    target = {"_target_": "fre_lightning.ood.programs.ProgramClassifier", "mean": MEAN, "std": STD}
    content[PAYLOAD_KEY]["config"]["classifier"] = settings | target
    torch.save(content, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="Do not trust this file"):
        load_ood(tmp_path)
