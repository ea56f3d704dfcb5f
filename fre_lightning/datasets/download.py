"""Download a published dataset: `python -m fre_lightning.download mvtec --root DIR`."""

import argparse
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import requests

from fre_lightning.datasets.archives import fetch, install, say, verify
from fre_lightning.datasets.sources import SOURCES, Source
from fre_lightning.errors import DatasetError, exit_code_of
from fre_lightning.files import print_any_name


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0, or 2 after an error that a message explains.
    """
    print_any_name()
    args = _parse(argv)
    source = SOURCES[args.dataset]
    if args.url is not None:
        source = replace(source, url=args.url)
    root: Path = (args.root or Path(args.dataset)).expanduser().absolute()

    def work() -> None:
        _check_root(root)
        _ask_for_assent(source, accepted=args.accept_license)
        _download(source, root)
        say(f"{source.title} is in {root}. Use it with {source.usage} dataset.root={root}")

    return exit_code_of(work)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fre_lightning.download",
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


def _check_root(root: Path) -> None:
    """Refuse a root that holds something already; an empty folder is fine."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        msg = f"{root} exists already. If it is incomplete move it away, or give another --root."
        raise DatasetError(msg)


def _ask_for_assent(source: Source, *, accepted: bool) -> None:
    say(source.terms)
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


if __name__ == "__main__":  # its former name
    sys.exit(main())
