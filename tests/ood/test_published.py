"""Torchvision's own download, from a server on this machine."""

import hashlib
import io
import pickle
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from fre_lightning.download import main
from fre_lightning.ood.known import ClassFolder

CLASSES = ["plane", "car/truck", "bird"]


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A CIFAR-10 of 6 + 3 images, served under its own name; gives its pixels."""
    rng, files, pixels = np.random.default_rng(0), {}, {}
    for name, n in (("data_batch_1", 6), ("test_batch", 3)):
        pixels[name] = rng.integers(0, 256, (n, 3072), np.uint8)
        files[name] = {"data": pixels[name], "labels": [i % 3 for i in range(n)]}
    files["batches.meta"] = {"label_names": CLASSES}
    archive, digests = io.BytesIO(), {}
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            data = pickle.dumps(content)
            digests[name] = hashlib.md5(data).hexdigest()
            member = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / CIFAR10.filename).write_bytes(archive.getvalue())

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path / "served")

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{CIFAR10.filename}"
    meta = {"filename": "batches.meta", "key": "label_names", "md5": digests["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "url", url)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.getvalue()).hexdigest())
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", digests["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", digests["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", meta)
    yield pixels
    server.shutdown()
    server.server_close()


def test_it_becomes_folders_of_classes(cifar, tmp_path, capsys):
    root = tmp_path / "cifar10"
    assert main(["cifar10", "--root", str(root), "--accept-license"]) == 0
    splits = ClassFolder(root).scan()
    assert splits.classes == ["bird", "car-truck", "plane"]
    assert (len(splits.train.samples), len(splits.test.samples)) == (6, 3)
    stored = np.asarray(Image.open(root / "train/bird/000005.png"))
    pixels = cifar["data_batch_1"][5].reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(stored, pixels)
    assert f"known.root={root}" in capsys.readouterr().out
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".cifar10.lock", "cifar10", "served"]
    (tmp_path / "served" / CIFAR10.filename).unlink()
    assert main(["cifar10", "--root", str(root), "--accept-license"]) == 0  # it is there


def test_mistakes(cifar, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(CIFAR10, "tgz_md5", "0" * 32)
    assert main(["cifar10", "--root", str(tmp_path / "a"), "--accept-license"]) == 2
    assert "torchvision cannot download CIFAR-10" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").mkdir()
    assert main(["cifar10", "--root", str(tmp_path / "b"), "--accept-license"]) == 2
    assert "was not made by this program" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["cifar10", "--root", str(tmp_path / "c")]) == 2
    said = capsys.readouterr()
    assert "CIFAR-10 was not downloaded: there is no terminal" in said.err
    assert "authors', see https://www.cs.toronto.edu/~kriz" in said.out
    assert main(["cifar10", "--url", "http://127.0.0.1"]) == 2
    assert "leave --url out" in capsys.readouterr().err
