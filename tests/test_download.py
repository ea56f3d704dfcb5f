import hashlib
import io
import random
import re
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fre_lightning import download
from fre_lightning.datasets import archives
from fre_lightning.datasets.sources import SOURCES

IMAGES = {f"bottle/train/good/{i:03d}.png": bytes([i]) * 3000 for i in range(4)}
TILES = {"tiles-master/MT_Free/Imgs/a.jpg": b"a", "tiles-master/README.md": b"Tiles"}

NOISE = {"MT_Free/Imgs/a.jpg": random.Random(0).randbytes(50000)}


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves one archive under /archive; `requested` lists the Range headers it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive = b""
        self.with_range = True
        self.breaks_after: int | None = None
        self.requested: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requested.append(self.headers["Range"])
        if self.path != "/archive":
            self.send_error(404)
            return
        body, start = self.server.archive, 0
        if self.headers["Range"] and self.server.with_range:
            start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
            self.send_response(206 if start < len(body) else 416)
            span = f"{start}-{len(body) - 1}" if start < len(body) else "*"
            self.send_header("Content-Range", f"bytes {span}/{len(body)}")
        else:
            self.send_response(200)
        body = body[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks_after])

    def log_message(self, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def mvtec_archive(server: Server, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small archive that the server has and whose checksum is taken for MVTec AD's."""
    monkeypatch.setattr(archives, "_CHUNK", 20)
    server.archive = tar_of(IMAGES)
    sha256 = hashlib.sha256(server.archive).hexdigest()
    source = replace(SOURCES["mvtec"], sha256=sha256)
    monkeypatch.setitem(SOURCES, "mvtec", source)
    return server.archive


def run(server: Server, root: Path, dataset: str = "mvtec", url: str | None = None) -> int:
    return download.main(
        [dataset, "--root", str(root), "--accept-license", "--url", url or server.url]
    )


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on stderr: one paragraph, no traceback."""
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "Traceback" not in message
    return message


def files_below(folder: Path) -> dict[str, bytes]:
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def leave_part(server: Server, root: Path) -> Path:
    """Let a download break off, and say where its first part is."""
    server.breaks_after = 60
    assert run(server, root) == 2
    server.breaks_after = None
    server.requested.clear()
    (part,) = root.parent.glob("*.part")
    assert part.stat().st_size == 60
    return part


def test_full(tmp_path, server, mvtec_archive, capsys):
    assert run(server, tmp_path / "new/mvtec") == 0
    assert files_below(tmp_path / "new/mvtec") == IMAGES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mvtec"]
    out = capsys.readouterr().out
    assert "CC BY-NC-SA 4.0" in out
    assert f"dataset.root={tmp_path / 'new/mvtec'}" in out


def test_zip_without_checksum_and_with_a_folder_of_its_own(tmp_path, server, capsys):
    server.archive = zip_of(TILES)
    root = tmp_path / "mtd"
    root.mkdir()  # an empty folder is no obstacle
    assert run(server, root, "mtd") == 0
    assert files_below(root) == {"MT_Free/Imgs/a.jpg": b"a", "README.md": b"Tiles"}
    assert [path.name for path in tmp_path.iterdir()] == ["mtd"]
    assert hashlib.sha256(server.archive).hexdigest() in capsys.readouterr().out


def test_broken_connection_is_told(tmp_path, server, mvtec_archive, capsys):
    leave_part(server, tmp_path / "mvtec")
    message = complaint(capsys)
    assert server.url in message
    assert "same command again" in message
    assert not (tmp_path / "mvtec").exists()


def test_resumed(tmp_path, server, mvtec_archive):
    leave_part(server, tmp_path / "mvtec")
    assert run(server, tmp_path / "mvtec") == 0
    assert server.requested == ["bytes=60-"]
    assert files_below(tmp_path / "mvtec") == IMAGES


def test_resumed_when_nothing_was_missing(tmp_path, server, mvtec_archive):
    leave_part(server, tmp_path / "mvtec").write_bytes(mvtec_archive)
    assert run(server, tmp_path / "mvtec") == 0
    assert server.requested == [f"bytes={len(mvtec_archive)}-"]
    assert files_below(tmp_path / "mvtec") == IMAGES


def test_part_that_is_too_long(tmp_path, server, mvtec_archive):
    leave_part(server, tmp_path / "mvtec").write_bytes(mvtec_archive + b"more")
    assert run(server, tmp_path / "mvtec") == 0
    assert server.requested == [f"bytes={len(mvtec_archive) + 4}-", None]
    assert files_below(tmp_path / "mvtec") == IMAGES


def test_server_without_range(tmp_path, server, mvtec_archive, capsys):
    leave_part(server, tmp_path / "mvtec")
    server.with_range = False
    assert run(server, tmp_path / "mvtec") == 0
    assert files_below(tmp_path / "mvtec") == IMAGES
    assert "cannot resume" in capsys.readouterr().out


def test_wrong_checksum(tmp_path, server, capsys):
    server.archive = tar_of(IMAGES)
    assert run(server, tmp_path / "mvtec") == 2
    message = complaint(capsys)
    assert hashlib.sha256(server.archive).hexdigest() in message
    assert SOURCES["mvtec"].sha256 in message
    assert list(tmp_path.iterdir()) == []


def test_licence_without_terminal(tmp_path, server, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert download.main(["mvtec", "--root", str(tmp_path / "m"), "--url", server.url]) == 2
    assert "--accept-license" in complaint(capsys)
    assert server.requested == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_licence_refused(tmp_path, server, monkeypatch, capsys, answer):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert download.main(["mvtec", "--root", str(tmp_path / "m"), "--url", server.url]) == 2
    assert "did not accept" in complaint(capsys)
    assert server.requested == []


def test_licence_accepted_at_the_terminal(tmp_path, server, mvtec_archive, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert download.main(["mvtec", "--root", str(tmp_path / "m"), "--url", server.url]) == 0
    assert files_below(tmp_path / "m") == IMAGES


def test_not_found(tmp_path, server, capsys):
    url = f"{server.url}-moved"
    assert run(server, tmp_path / "mvtec", url=url) == 2
    message = complaint(capsys)
    assert f"{url} answered 404" in message
    assert SOURCES["mvtec"].page in message
    assert "--url" in message
    assert list(tmp_path.iterdir()) == []


def test_offline(tmp_path, server, capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/archive"
        assert run(server, tmp_path / "mvtec", url=url) == 2
    message = complaint(capsys)
    assert "Check the network" in message
    assert SOURCES["mvtec"].page in message


def test_no_address(tmp_path, server, capsys):
    assert run(server, tmp_path / "mvtec", url="archive.tar.xz") == 2
    assert "archive.tar.xz" in complaint(capsys)


@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/../escaped.txt", "..\\escaped.txt"])
def test_zip_member_that_escapes(tmp_path, server, capsys, name):
    server.archive = zip_of(TILES | {name: b"!"})
    assert run(server, tmp_path / "below/mtd", "mtd") == 2
    assert "escaped.txt would be written outside" in complaint(capsys)
    assert files_below(tmp_path) == {}


def test_tar_member_that_escapes(tmp_path, server, capsys):
    server.archive = tar_of({"MT_Free/Imgs/a.jpg": b"a", "../../escaped.txt": b"!"})
    assert run(server, tmp_path / "below/mtd", "mtd") == 2
    assert "outside the destination" in complaint(capsys)
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize(
    "archive",
    [b"<html>Log in</html>", tar_of({"a.txt": b""}), zip_of(TILES)[:60], tar_of(NOISE)[:20000]],
    ids=["page", "other files", "cut zip", "cut tar"],
)
def test_no_such_dataset_in_it(tmp_path, server, capsys, archive):
    server.archive = archive
    assert run(server, tmp_path / "mtd", "mtd") == 2
    assert "cannot be used" in complaint(capsys)
    assert list(tmp_path.iterdir()) == []


def test_existing_root_is_left_alone(tmp_path, server, capsys):
    (tmp_path / "mvtec").mkdir()
    (tmp_path / "mvtec/mine.txt").touch()
    assert run(server, tmp_path / "mvtec") == 2
    assert f"{tmp_path / 'mvtec'} exists already" in complaint(capsys)
    assert server.requested == []
    assert list(files_below(tmp_path)) == ["mvtec/mine.txt"]


def test_root_that_cannot_be_written(tmp_path, server, capsys):
    (tmp_path / "file").touch()
    assert run(server, tmp_path / "file/mvtec") == 2
    assert "cannot be written" in complaint(capsys)


def test_one_list_of_all_sets(capsys):
    with pytest.raises(SystemExit, match="0"):
        download.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "cifar10, cifar100, dtd, mtd, mvtec, places365, stl10, svhn" in shown
    with pytest.raises(SystemExit, match="2"):
        download.main(["lsun"])
    assert "cifar10" in capsys.readouterr().err


@pytest.mark.parametrize("program", [["-m", "fre_lightning.download"], ["script"]])
def test_command_line(tmp_path, program):
    script = Path(__file__).parents[1] / "scripts/download.py"
    arguments = [str(script) if word == "script" else word for word in program]
    done = subprocess.run(
        [sys.executable, *arguments, "mtd", "--root", str(tmp_path / "mtd")],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 2
    assert "state no licence" in done.stdout
    assert done.stderr.startswith("Magnetic Tile Defects was not downloaded")
