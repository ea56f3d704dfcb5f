"""Published datasets that can be downloaded: addresses, checksums and terms."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from.

    Attributes:
        title: Its name.
        url: Address of the archive, tar or zip.
        sha256: The checksum of the archive; None if none has been published.
        page: Address of its authors' description.
        terms: What its authors permit, as one sentence.
        landmark: A pattern that a file or folder in the dataset's folder matches.
        usage: The command line's overrides that select it.
    """

    title: str
    url: str
    sha256: str | None
    page: str
    terms: str
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
        terms=(
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
        terms=(
            "The authors of Magnetic Tile Defects state no licence; they welcome its use and ask "
            'to be cited: Huang, Qiu and Yuan, "Surface defect saliency of magnetic tile", 2020.'
        ),
        landmark="MT_Free",
        usage="dataset=mtd",
    ),
}
"""The datasets that can be downloaded, by their name on the command line."""
