"""Charts as SVG: pure functions from numbers to markup, coloured by the page's style sheet.

Each chart is one `<svg>` element with a title and a description for screen readers. Positions are
in units of the view box; the page scales it.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 380, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, WIDTH - 12, 24, HEIGHT - 44  # the frame within the axes
_LEGEND_LINE = 17
_LONGEST_LABEL = 42  # characters that fit beside a legend's key
_N_BINS = 36  # of equal width along the axis of a histogram
_LOG_FROM = 8.0  # scores that spread over a larger ratio are drawn along a logarithmic axis
_N_COLORS, _N_DASHES = 8, 3  # of the style sheet


def format_number(value: float) -> str:
    """Four digits, and no exponent where a reader expects none."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


class Line(NamedTuple):
    """A curve of a chart.

    Attributes:
        label: Its name in the legend.
        x: Ascending.
        y: As many.
        point: A point to mark on it, such as that of a threshold.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    point: tuple[float, float] | None = None


class Axis(NamedTuple):
    """Turns values into positions.

    Attributes:
        low: The value at the position `start`.
        high: The value at the position `end`.
        start: Where the axis starts.
        end: Where it ends; less than `start` on a vertical axis.
        is_log: Whether equal ratios are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value; one beyond an end is drawn at that end."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, n: int) -> list[float]:
        """About `n` round values within the axis."""
        if not self.is_log:
            return _round_steps(self.low, self.high, n)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            values = (digit * 10.0**decade for decade in decades for digit in digits)
            within = [value for value in values if self.low <= value <= self.high]
            if len(within) <= 1.5 * n:
                break
        return within if len(within) > 1 else _round_steps(self.low, self.high, n)


def histogram(
    good: Sequence[float],
    defective: Sequence[float],
    threshold: float | None,
    names: tuple[str, str] = ("good", "defective"),
) -> Markup:
    """Scores of good images upwards and of defective ones downwards, with the threshold.

    Args:
        good: Scores.
        defective: Scores; the two together at least one.
        threshold: Above which an image is called defective.
        names: What the two are called.
    """
    seen = [*good, *defective, *([] if threshold is None else [threshold])]
    axis = _score_axis(min(seen), max(seen))
    edges = (np.geomspace if axis.is_log else np.linspace)(axis.low, axis.high, _N_BINS + 1)
    edges[0], edges[-1] = axis.low, axis.high
    up, down = (np.histogram(scores, edges)[0] for scores in (good, defective))
    lowest = -1.08 * max(down.max(), 1) if len(defective) else 0.0
    highest = 1.08 * max(up.max(), 1) if len(good) else 0.0
    counts = Axis(lowest, highest, _BOTTOM, _TOP)
    parts = _grid_y(counts, [tick for tick in counts.ticks(6) if tick == int(tick)])
    parts += _grid_x(axis, axis.ticks(6), lines=False)
    sides = list(pairwise(axis(edge) for edge in edges))
    for name, heights in (("good", up), ("defective", -down)):
        bars = [
            _bar(*x, counts(0), counts(height))
            for x, height in zip(sides, heights, strict=True)
            if height
        ]
        parts.append(f'<g class="bars {name}">{"".join(bars)}</g>')
    parts.append(_segment(_LEFT, counts(0), _RIGHT, counts(0), "axis"))
    named = [
        f"{len(scores)} {name} images score "
        f"{format_number(min(scores))} to {format_number(max(scores))}"
        for name, scores in zip(names, (good, defective), strict=True)
        if len(scores)
    ]
    if threshold is not None:
        x, number = axis(threshold), format_number(threshold)
        anchor = "middle" if _LEFT + 60 < x < WIDTH - 60 else "end" if x > WIDTH / 2 else "start"
        line = _segment(x, _TOP - 4, x, _BOTTOM, "threshold")
        label = _text(f"threshold {number}", x, _TOP - 8, anchor, "strong")
        # A script that moves it needs the axis.
        data = {"low": axis.low, "high": axis.high, "start": axis.start, "end": axis.end}
        attributes = "".join(f' data-{key}="{value:.9g}"' for key, value in data.items())
        kind = "log" if axis.is_log else "linear"
        parts.append(f'<g data-scale="{kind}"{attributes}>{line}{label}</g>')
        named.append(f"the threshold is {number}")
    parts += _axis_titles("image score (logarithmic)" if axis.is_log else "image score", "images")
    labels = (f"{names[0]} ({len(good)}), upwards", f"{names[1]} ({len(defective)}), downwards")
    key = '<rect class="key {}" x="0" y="0" width="18" height="8"/>'
    keys = map(key.format, ("good", "defective"))
    legend = list(zip(keys, labels, strict=True))
    return _svg("Image scores", "; ".join(named), parts, legend)


def line_chart(
    title: str, lines: Sequence[Line], x_label: str, y_label: str, x_limit: float = 1.0
) -> Markup:
    """Curves of rates, 0 to 1 upwards and 0 to `x_limit` to the right, and a legend.

    Args:
        title: For screen readers.
        lines: At least one; up to 24 differ in colour or dashes.
        x_label: Of the axis.
        y_label: Of the axis.
        x_limit: Where the axis ends; points beyond it are to be cut off before.
    """
    x_axis = Axis(0.0, x_limit, _LEFT, _RIGHT)
    y_axis = Axis(0.0, 1.0, _BOTTOM, _TOP)
    parts = [*_grid_y(y_axis, y_axis.ticks(5)), *_grid_x(x_axis, x_axis.ticks(5))]
    if x_limit == 1:
        parts.append(_segment(x_axis(0), y_axis(0), x_axis(1), y_axis(1), "chance"))
    legend = []
    for index, line in enumerate(lines):
        # Dashes change with every line, so that one which lies on another does not hide it.
        style = f"c{index % _N_COLORS} d{index % _N_DASHES}"
        points = " ".join(
            f"{x_axis(x):.1f},{y_axis(y):.1f}" for x, y in zip(line.x, line.y, strict=True)
        )
        parts.append(f'<polyline class="line {style}" points="{points}"/>')
        if line.point is not None:
            x, y = x_axis(line.point[0]), y_axis(line.point[1])
            parts.append(f'<circle class="point {style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        legend.append((_segment(0, 4, 18, 4, f"line {style}"), line.label))
    parts += _axis_titles(x_label, y_label)
    described = f"{y_label} over {x_label}: {', '.join(line.label for line in lines)}"
    return _svg(title, described, parts, legend)


def _score_axis(low: float, high: float) -> Axis:
    """An axis that holds scores with a little room on both sides."""
    if low > 0 and high / low > _LOG_FROM:
        room = (high / low) ** 0.02
        return Axis(low / room, high * room, _LEFT, _RIGHT, is_log=True)
    room = 0.02 * (high - low) or abs(high) * 0.01 or 1.0
    return Axis(low - room, high + room, _LEFT, _RIGHT)


def _round_steps(low: float, high: float, n: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, about `n` of them."""
    raw = (high - low) / n
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _grid_y(axis: Axis, ticks: Sequence[float]) -> list[str]:
    lines = [_segment(_LEFT, axis(v), _RIGHT, axis(v), "grid") for v in ticks]
    return lines + [_text(format_number(abs(v)), _LEFT - 6, axis(v) + 3.5, "end") for v in ticks]


def _grid_x(axis: Axis, ticks: Sequence[float], *, lines: bool = True) -> list[str]:
    top, style = (_TOP, "grid") if lines else (_BOTTOM - 4, "axis")
    marks = [_segment(axis(v), top, axis(v), _BOTTOM, style) for v in ticks]
    return marks + [_text(format_number(v), axis(v), _BOTTOM + 15, "middle") for v in ticks]


def _axis_titles(x_label: str, y_label: str) -> list[str]:
    y = (_TOP + _BOTTOM) / 2
    turned = f'<text class="label" text-anchor="middle" transform="translate(11 {y:.1f}) '
    return [
        _text(x_label, (_LEFT + _RIGHT) / 2, _BOTTOM + 32, "middle", "label"),
        f'{turned}rotate(-90)">{escape(y_label)}</text>',
    ]


def _bar(x1: float, x2: float, y1: float, y2: float) -> str:
    top, height = min(y1, y2), abs(y2 - y1)
    width = max(x2 - x1 - 1, 0.5)
    return f'<rect x="{x1 + 0.5:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _segment(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(text: str, x: float, y: float, anchor: str, style: str = "tick") -> str:
    position = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{style}" {position}>{escape(text)}</text>'


def _svg(title: str, description: str, parts: list[str], legend: list[tuple[str, str]]) -> Markup:
    """A chart with a legend below it: keys, 18 wide and 8 high, and labels."""
    for row, (key, label) in enumerate(legend):
        y = HEIGHT + _LEGEND_LINE * (row + 0.5)
        parts.append(f'<g transform="translate({_LEFT} {y - 8:.1f})">{key}</g>')
        cut = f"{label[: _LONGEST_LABEL - 10]}…{label[-9:]}"  # its end is the number
        shown = label if len(label) <= _LONGEST_LABEL else cut
        parts.append(_text(shown, _LEFT + 26, y, "start"))
    height = HEIGHT + _LEGEND_LINE * len(legend) + 4
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">'
    about = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return Markup(f"{head}{about}{''.join(parts)}</svg>")
