"""The chart of where a detector is blind: contrasts by position, over a picture of a part."""

import math

from markupsafe import Markup

from fre_lightning.metrics.blind_spots import CONTRASTS
from fre_lightning.pictures.embedding import data_uri
from fre_lightning.report import svg
from fre_lightning.results.run_folder import BLIND_SPOTS_PICTURE
from fre_lightning.results.stored_run import StoredRun

_FAINTEST, _STRONGEST = 0.05, 0.75  # opacities of the best and the worst cells
_SIDE = svg.WIDTH - 2  # of the longer side


def blind_spots_chart(run: StoredRun) -> Markup:
    """The smallest contrast that is noticed at each position; the blinder, the stronger the colour.

    Args:
        run: With `blind_spots`.
    """
    contrasts, (height, width) = run.blind_spots["contrast"], run.blind_spots["image_size"]
    scale = _SIDE / max(height, width)
    frame = (width * scale, height * scale)
    cell = (frame[0] / len(contrasts[0]), frame[1] / len(contrasts))
    parts = [_picture(run, frame)]
    for i, row in enumerate(contrasts):
        for j, contrast in enumerate(row):
            x, y = j * cell[0], i * cell[1]
            parts.append(
                f'<rect class="blind" x="{x:.1f}" y="{y:.1f}" width="{cell[0]:.1f}" '
                f'height="{cell[1]:.1f}" fill-opacity="{_opacity(contrast):.2f}"/>'
            )
            text = "–" if contrast is None else f"{contrast:.0f}"  # noqa: RUF001 - a dash
            at = f'x="{x + cell[0] / 2:.1f}" y="{y + cell[1] / 2 + 4:.1f}"'
            parts.append(f'<text class="on-picture" text-anchor="middle" {at}>{text}</text>')
    known = sorted(c for row in contrasts for c in row if c is not None)
    n_cells = len(contrasts) * len(contrasts[0])
    legend = f"levels of 255 that a spot of {run.blind_spots['spot']:g} pixels must differ by"
    described = f"{n_cells - len(known)} of {n_cells} positions notice none"
    if known:
        described += f"; the others from {known[0]:g} to {known[-1]:g} levels"
    parts.append(
        f'<text class="label" x="0" y="{frame[1] + 16:.1f}">{legend}</text>'
        f'<text class="label" x="0" y="{frame[1] + 32:.1f}">{described}</text>'
    )
    head = f'<svg viewBox="0 0 {svg.WIDTH} {frame[1] + 40:.0f}" role="img"'
    about = f"<title>Blind spots</title><desc>{described}</desc>"
    return Markup(f'{head} xmlns="http://www.w3.org/2000/svg">{about}{"".join(parts)}</svg>')


def _picture(run: StoredRun, frame: tuple[float, float]) -> str:
    path = run.folder / BLIND_SPOTS_PICTURE
    if not path.is_file():
        return ""
    uri = data_uri("image/webp", path.read_bytes())
    size = f'width="{frame[0]:.1f}" height="{frame[1]:.1f}" preserveAspectRatio="none"'
    return f'<image href="{uri}" {size}/>'


def _opacity(contrast: float | None) -> float:
    """By the logarithm of the contrast."""
    ends = math.log(CONTRASTS[0]), math.log(CONTRASTS[-1])
    share = 1.0 if contrast is None else (math.log(contrast) - ends[0]) / (ends[1] - ends[0])
    return _FAINTEST + (_STRONGEST - _FAINTEST) * share
