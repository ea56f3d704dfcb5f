"""Download a published dataset: `python -m fre_lightning.datasets.download mvtec --root DIR`."""

import argparse
import hashlib
import lzma
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import requests
from tqdm import tqdm

from fre_lightning.errors import DatasetError, FREError

TIMEOUT = (15, 60)
"""Seconds to wait for a connection, and for the next bytes."""

CHUNK = 1 << 18

DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    ValueError,
)
"""What the standard library raises for archives that are cut, damaged or malicious."""


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from.

    Attributes:
        title: Its name.
        url: The archive, tar or zip.
        sha256: The checksum of the archive; None if none has been published.
        page: Where its authors describe it.
        licence: What its authors permit, as one sentence.
        landmark: A pattern that something in the dataset's folder matches.
        usage: The overrides that use it.
    """

    title: str
    url: str
    sha256: str | None
    page: str
    licence: str
    landmark: str
    usage: str


SOURCES = {
    "mvtec": Source(
        title="MVTec AD",
        url=(
            "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/"
            "download/420938113-1629960298/mvtec_anomaly_detection.tar.xz"
        ),
        sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
        page="https://www.mvtec.com/company/research/datasets/mvtec-ad",
        licence=(
            "MVTec AD is licensed under CC BY-NC-SA 4.0 "
            "(https://creativecommons.org/licenses/by-nc-sa/4.0/): name its authors, share what "
            "you make of it alike, and do not use it commercially."
        ),
        landmark="*/train/good",
        usage="dataset=mvtec dataset.category=bottle",
    ),
    "mtd": Source(
        title="Magnetic Tile Defects",
        url=(
            "https://github.com/abin24/Magnetic-tile-defect-datasets./archive/refs/heads/master.zip"
        ),
        sha256=None,
        page="https://github.com/abin24/Magnetic-tile-defect-datasets.",
        licence=(
            "The authors of Magnetic Tile Defects state no licence; they welcome its use and ask "
            'to be cited: Huang, Qiu and Yuan, "Surface defect saliency of magnetic tile", 2020.'
        ),
        landmark="MT_Free",
        usage="dataset=mtd",
    ),
}
"""The datasets that can be downloaded, by their name on the command line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; None stands for those of the process.

    Returns:
        The exit code: 0, 2 after an error that a message explains, 130 when interrupted.
    """
    args = _parse(argv)
    source = SOURCES[args.dataset]
    if args.url is not None:
        source = replace(source, url=args.url)
    root: Path = (args.root or Path(args.dataset)).expanduser().absolute()
    try:
        _check_root(root)
        _ask_for_assent(source, accepted=args.accept_license)
        _download(source, root)
    except FREError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again to go on from here.\n")
        return 130
    _say(f"{source.title} is in {root}. Use it with {source.usage} dataset.root={root}")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="download",
        description="Download a published dataset. An interrupted download goes on where it was.",
    )
    parser.add_argument("dataset", choices=sorted(SOURCES), help="which one")
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="folder to make; by default the dataset's name"
    )
    parser.add_argument(
        "--accept-license", action="store_true", help="accept its licence without being asked"
    )
    parser.add_argument("--url", help="another address of the same archive")
    return parser.parse_args(argv)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _check_root(root: Path) -> None:
    """Refuse a root that holds something already; an empty folder is fine."""
    if root.is_dir() and not any(root.iterdir()):
        return
    if root.exists():
        msg = f"{root} exists already. If it is incomplete move it away, or give another --root."
        raise DatasetError(msg)


def _ask_for_assent(source: Source, *, accepted: bool) -> None:
    _say(source.licence)
    if accepted:
        return
    if not sys.stdin.isatty():
        msg = (
            f"{source.title} was not downloaded: there is no terminal to ask you whether you "
            "accept these terms. If you do, run the command again with --accept-license."
        )
        raise DatasetError(msg)
    try:
        answer = input("Do you accept? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        msg = f"{source.title} was not downloaded because you did not accept its terms."
        raise DatasetError(msg)


def _download(source: Source, root: Path) -> None:
    # An address has its own file, so that what another one sent is never continued.
    part = root.with_name(f"{root.name}-{zlib.crc32(source.url.encode()):08x}.part")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        _fetch(source, part)
        _verify(source, part)
        _install(source, part, root)
        part.unlink()
    except requests.RequestException as error:
        raise DatasetError(_explain(source, root, error)) from error
    except OSError as error:
        msg = (
            f"{source.title} cannot be written to {root} ({error}). Free some space or give "
            f"another --root; what has been downloaded is kept in {part}."
        )
        raise DatasetError(msg) from error


def _explain(source: Source, root: Path, error: requests.RequestException) -> str:
    by_hand = f"or download the archive by hand ({source.page}) and unpack it to {root}"
    if error.response is not None:
        answer = f"{error.response.status_code} {error.response.reason}".strip()
        return (
            f"{source.title} cannot be downloaded: {source.url} answered {answer}. The archive may "
            f"have moved: look for its new address at {source.page} and give it with --url, "
            f"{by_hand}."
        )
    return (
        f"{source.title} cannot be downloaded from {source.url} ({error}). Check the network (a "
        "proxy is taken from the variable HTTPS_PROXY) and run the same command again, which goes "
        f"on where this one stopped; {by_hand}."
    )


def _fetch(source: Source, part: Path) -> None:
    """Download the archive to `part`, going on from what is there if the server can do that."""
    if not _request(source, part):
        part.unlink()
        _request(source, part)


def _request(source: Source, part: Path) -> bool:
    """Download what `part` lacks; False if the server does not go on from there."""
    start = part.stat().st_size if part.is_file() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(source.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        content_range = response.headers.get("Content-Range", "")
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            return content_range == f"bytes */{start}"  # that is, there is nothing left to send
        response.raise_for_status()
        if start and response.status_code != requests.codes.partial_content:
            _say("The server cannot resume downloads, so this one starts again.")
            start = 0
        elif start and not content_range.startswith(f"bytes {start}-"):
            return False
        _write(source, part, response, start)
    return True


def _write(source: Source, part: Path, response: requests.Response, start: int) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    with (
        part.open("ab" if start else "wb") as file,
        tqdm(
            desc=source.title,
            initial=start,
            total=total,
            unit="B",
            unit_scale=True,
            disable=None,  # but on a terminal
        ) as bar,
    ):
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        msg = f"the connection was closed after {part.stat().st_size} of {total} bytes"
        raise requests.ConnectionError(msg)


def _verify(source: Source, part: Path) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if source.sha256 is None:
        _say(f"sha256 of the archive: {found} (its authors publish none to compare it with)")
        return
    if found != source.sha256:
        part.unlink()
        msg = (
            f"What {source.url} sent is not {source.title} as published: its sha256 is {found}, "
            f"not {source.sha256}. It was deleted. Run the command again, or look for another "
            f"address at {source.page} and give it with --url."
        )
        raise DatasetError(msg)


def _install(source: Source, archive: Path, root: Path) -> None:
    """Unpack the archive beside `root` and rename the dataset's folder in it to `root`."""
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what an interrupted process left
    partial.mkdir()
    try:
        _unpack(source, archive, partial)
        below = [path for path in partial.iterdir() if path.is_dir()]
        found = [path for path in (partial, *below) if any(path.glob(source.landmark))]
        if not found:
            msg = f"it holds no {source.landmark}"
            raise ValueError(msg)
        if root.exists():
            root.rmdir()  # it is empty
        found[0].rename(root)
    except DAMAGED as error:
        archive.unlink()
        msg = (
            f"What {source.url} sent cannot be used ({error}). It was deleted. Run the command "
            f"again, or look for another address at {source.page} and give it with --url."
        )
        raise DatasetError(msg) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack(source: Source, archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive, none of whose members may end up outside of `folder`."""
    bar = f"Unpacking {source.title}"
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            for member in members:
                _check_member(member.filename, folder)
            for member in tqdm(members, bar, unit=" files", disable=None):
                zipped.extract(member, folder)
        return
    if not hasattr(tarfile, "data_filter"):
        msg = f"{archive} cannot be unpacked safely by this Python. Use 3.11.4 or a later one."
        raise DatasetError(msg)
    if not tarfile.is_tarfile(archive):
        msg = "it is neither a zip nor a tar archive"
        raise ValueError(msg)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, tqdm(tar, bar, unit=" files", disable=None), filter="data")


def _check_member(name: str, folder: Path) -> None:
    target = (folder / name.replace("\\", "/")).resolve()
    if not target.is_relative_to(folder.resolve()):
        msg = f"its member {name} would be written outside of the folder"
        raise ValueError(msg)


if __name__ == "__main__":
    sys.exit(main())
