"""A dataset's archive: download it with resume, verify its checksum, unpack it safely."""

import hashlib
import lzma
import shutil
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import requests
from tqdm import tqdm

from fre_lightning.datasets.listing import sub_folders
from fre_lightning.datasets.sources import Source
from fre_lightning.errors import DatasetError
from fre_lightning.progress import progress

_TIMEOUT = (15, 60)
"""Seconds to wait for a connection, and for the next bytes."""

_CHUNK = 1 << 18

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, ValueError)
"""What the standard library raises for archives that are cut, damaged or malicious."""


def say(text: str) -> None:
    """Print a line at once, into a pipe too."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check_root(root: Path) -> None:
    """Refuse a root that holds something already; an empty folder is fine.

    Raises:
        DatasetError: If it does.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        msg = f"{root} exists already. If it is incomplete move it away, or give another --root."
        raise DatasetError(msg)


def download(source: Source, root: Path) -> None:
    """Download a dataset's archive and unpack it; what an earlier call has got is kept.

    Args:
        source: Where it is.
        root: The folder to make.

    Raises:
        DatasetError: If it cannot be had, used or written.
    """
    # An address has its own file, so that what another one sent is never continued.
    part = root.with_name(f"{root.name}-{zlib.crc32(source.url.encode()):08x}.part")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        fetch(source, part)
        verify(source, part)
        install(source, part, root)
    except requests.RequestException as error:
        raise DatasetError(_explain(source, root, error)) from error
    except OSError as error:
        msg = (
            f"{source.title} cannot be written to {root} ({error}). Free some space or give "
            f"another --root; what has been downloaded is kept in {part}."
        )
        raise DatasetError(msg) from error


def fetch(source: Source, part: Path) -> None:
    """Download the archive to `part`, and resume an earlier download if the server can.

    Raises:
        requests.RequestException: If the archive, or the rest of it, cannot be downloaded.
    """
    start = part.stat().st_size if part.is_file() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(source.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        span, status = response.headers.get("Content-Range", ""), response.status_code
        if start and status in (206, 416) and not span.startswith(f"bytes {start}-"):
            if span != f"bytes */{start}":  # else all of it is here
                part.unlink()
                fetch(source, part)
            return
        response.raise_for_status()
        if start and status != requests.codes.partial_content:
            say("The server cannot resume downloads, so this one starts again.")
            start = 0
        _write(source, part, response, start)


def _write(source: Source, part: Path, response: requests.Response, start: int) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    with (  # `disable=None` stands for: unless on a terminal
        part.open("ab" if start else "wb") as file,
        tqdm.wrapattr(file, "write", total, desc=source.title, initial=start, disable=None) as bar,
    ):
        for chunk in response.iter_content(_CHUNK):
            bar.write(chunk)
    if total is not None and part.stat().st_size < total:
        msg = f"the connection was closed after {part.stat().st_size} of {total} bytes"
        raise requests.ConnectionError(msg)


def verify(source: Source, archive: Path) -> None:
    """Compare the archive's checksum with the published one; print it if there is none.

    Raises:
        DatasetError: If they differ; the archive is deleted then.
    """
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if source.sha256 is None:
        say(f"sha256 of the archive: {found} (its authors publish none to compare it with)")
    elif found != source.sha256:
        flaw = f"is not {source.title} as published: its sha256 is {found}, not {source.sha256}"
        raise _discard(source, archive, flaw)


def install(source: Source, archive: Path, root: Path) -> None:
    """Unpack the archive beside `root`, rename the dataset's folder in it to `root`, delete it.

    Raises:
        DatasetError: If it is damaged, malicious or another archive; it is deleted then.
    """
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what an interrupted process left
    partial.mkdir()
    try:
        _unpack(source, archive, partial)
        folders = (partial, *sub_folders(partial))
        found = [path for path in folders if any(path.glob(source.landmark))]
        if not found:
            msg = f"it holds no {source.landmark}"
            raise ValueError(msg)
        if root.exists():
            root.rmdir()  # it is empty
        found[0].rename(root)
        archive.unlink()  # at once: where both are, a stopped command could not go on
    except _DAMAGED as error:
        raise _discard(source, archive, f"cannot be used ({error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _discard(source: Source, archive: Path, flaw: str) -> DatasetError:
    """Delete a wrong archive; returns the error to raise."""
    archive.unlink()
    return DatasetError(
        f"What {source.url} sent {flaw}. It was deleted. Run the command again, or look for "
        f"another address at {source.page} and give it with --url."
    )


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


def _unpack(source: Source, archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive, none of whose members may end up outside of `folder`."""
    title = f"Unpacking {source.title}"
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            names = zipped.namelist()
            for name in names:
                target = folder / name.replace("\\", "/")
                if not target.resolve().is_relative_to(folder.resolve()):
                    msg = f"its member {name} would be written outside of the folder"
                    raise ValueError(msg)
            zipped.extractall(folder, progress(names, title, unit=" files"))
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, progress(tar, title, unit=" files"), filter="data")
    else:
        msg = "it is neither a zip nor a tar archive"
        raise ValueError(msg)
