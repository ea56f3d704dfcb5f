"""`python -m fre_lightning.download`, or `fre-lightning-download`: get a published dataset."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fre_lightning.datasets.archives import check_root, download, say
from fre_lightning.datasets.sources import SOURCES
from fre_lightning.errors import DatasetError, exit_code_of
from fre_lightning.files import print_any_name
from fre_lightning.ood import published

_CLASSES = published.SOURCES


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0, or 2 after an error that a message explains.
    """
    print_any_name()
    args = _parse(argv)
    return exit_code_of(lambda: _get(args))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fre_lightning.download",
        description=(
            "Download a published dataset, of defects for python -m fre_lightning "
            f"({', '.join(sorted(SOURCES))}), or of classes for python -m fre_lightning.ood "
            f"({', '.join(sorted(_CLASSES))}; written as <split>/<class>/*.png). An interrupted "
            "download of defects goes on where it was."
        ),
    )
    names = sorted({*SOURCES, *_CLASSES})
    parser.add_argument("dataset", choices=names, metavar="dataset", help=", ".join(names))
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="folder to make; by default the dataset's name"
    )
    parser.add_argument(
        "--accept-license", action="store_true", help="accept its terms without being asked"
    )
    parser.add_argument("--url", help="another address of the same archive, of a set of defects")
    return parser.parse_args(argv)


def _get(args: argparse.Namespace) -> None:
    """Ask for assent, and download.

    Raises:
        DatasetError: If the dataset cannot be had or written, or its terms are not accepted.
    """
    name, url = args.dataset, args.url
    root: Path = (args.root or Path(name)).expanduser().absolute()
    if name in _CLASSES:
        classes = _CLASSES[name]
        if url is not None:
            msg = f"torchvision knows where {classes.title} is: leave --url out."
            raise DatasetError(msg)
        _ask_for_assent(classes.title, classes.terms, accepted=args.accept_license)
        published.download(name, root)
        say(
            f"{classes.title} is in {root}. Use it with python -m fre_lightning.ood as "
            f"known=folder known.root={root}, or a folder of it in unknown.far."
        )
        return
    source = SOURCES[name] if url is None else replace(SOURCES[name], url=url)
    check_root(root)
    _ask_for_assent(source.title, source.terms, accepted=args.accept_license)
    download(source, root)
    say(f"{source.title} is in {root}. Use it with {source.usage} dataset.root={root}")


def _ask_for_assent(title: str, terms: str, *, accepted: bool) -> None:
    say(terms)
    if accepted:
        return
    if not sys.stdin.isatty():
        msg = (
            f"{title} was not downloaded: there is no terminal to ask you whether you "
            "accept these terms. If you do, run the command again with --accept-license."
        )
        raise DatasetError(msg)
    try:
        answer = input("Do you accept? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        msg = f"{title} was not downloaded because you did not accept its terms."
        raise DatasetError(msg)


if __name__ == "__main__":
    sys.exit(main())
