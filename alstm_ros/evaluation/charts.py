"""Charts of the report as inline SVG: they need no script, no network and no plotting library, and stay sharp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from alstm_ros.drawing import colour
from alstm_ros.evaluation.switches import Timeline
from alstm_ros.types import Float64

ALPHAS = np.arange(0.05, 0.96, 0.05)


def ink(track_id: int) -> str:
    """A track's colour, the same as in the overlay."""
    blue, green, red = colour(str(track_id))
    return f"#{red:02x}{green:02x}{blue:02x}"


def curve_chart(curves: Mapping[str, Float64], strong: str) -> str:
    """HOTA over the localisation threshold.

    Args:
        curves: name to `(19,)` percent.
        strong: which of them stands out.
    """
    width, height, left, bottom, top, right = 640, 300, 44, 34, 10, 120
    plot_w, plot_h = width - left - right, height - top - bottom

    def place(alpha: float, value: float) -> tuple[float, float]:
        return left + (alpha - 0.05) / 0.9 * plot_w, top + (1 - value / 100) * plot_h

    parts = [f'<svg viewBox="0 0 {width} {height}" class="chart" role="img" aria-label="HOTA over alpha">']
    for value in range(0, 101, 20):
        x, y = place(0.05, value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{left + plot_w}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for alpha in (0.05, 0.25, 0.5, 0.75, 0.95):
        x, y = place(alpha, 0)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{alpha:g}</text>')
    middle = left + plot_w / 2
    parts.append(
        f'<text class="tick" x="{middle:.1f}" y="{height - 4}" text-anchor="middle">IoU threshold alpha</text>'
    )
    ordered = sorted(curves, key=lambda name: (name == strong, name))
    for name in ordered:
        points = " ".join("{:.1f},{:.1f}".format(*place(a, v)) for a, v in zip(ALPHAS, curves[name], strict=True))
        kind = "strong" if name == strong else "weak"
        title = f"{escape(name)}: {np.mean(curves[name]):.1f} on average"
        parts.append(f'<polyline class="line {kind}" points="{points}"><title>{title}</title></polyline>')
    ends = sorted((place(0.05, float(curves[name][0]))[1], name) for name in curves)
    last = -1e9
    for y, name in ends:  # labels at the curves' left ends would collide with the axis: they stand right, spread out
        last = max(y, last + 14)
        kind = "strong" if name == strong else ""
        text = f"{escape(_short(name))} {np.mean(curves[name]):.1f}"
        parts.append(f'<text class="label {kind}" x="{left + plot_w + 8}" y="{last + 4:.1f}">{text}</text>')
    parts.append("</svg>")
    return "".join(parts)


def _short(name: str, limit: int = 13) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"


def timeline_chart(line: Timeline, numbers: Sequence[int]) -> str:
    """One row for each object: which track followed it when; white where none did.

    Args:
        line: the matches.
        numbers: the frames' numbers in the recording.
    """
    length = len(numbers)
    objects = sorted(line.followed, key=lambda key: line.followed[key][0][0])
    row = 14 if len(objects) <= 40 else 10 if len(objects) <= 90 else 7
    left, width = 52, 1000
    height = row * len(objects) + 24
    scale = (width - left - 8) / max(length, 1)
    parts = [f'<svg viewBox="0 0 {width} {height}" class="chart" role="img" aria-label="id timeline">']
    for step in _ticks(length):
        x = left + step * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 6}" text-anchor="middle">{numbers[step]}</text>')
    for index, key in enumerate(objects):
        y = index * row
        pairs = line.followed[key]
        first, last = pairs[0][0], pairs[-1][0]
        if row >= 10:
            parts.append(f'<text class="tick" x="{left - 6}" y="{y + row - 3}" text-anchor="end">{key}</text>')
        parts.append(
            f'<rect class="life" x="{left + (first - 1) * scale:.1f}" y="{y + 1}" '
            f'width="{(last - first + 1) * scale:.1f}" height="{row - 2}"/>'
        )
        for start, end, track in stretches(pairs):
            x, wide = left + (start - 1) * scale, (end - start + 1) * scale
            title = f"object {key}: track {track}, frames {numbers[start - 1]} to {numbers[end - 1]}"
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 1}" width="{max(wide, 0.8):.1f}" height="{row - 2}" fill="{ink(track)}">'
                f"<title>{title}</title></rect>"
            )
            if wide > 26 and row >= 10:
                parts.append(f'<text class="inside" x="{x + 3:.1f}" y="{y + row - 3.5}">{track}</text>')
    rows = {key: index for index, key in enumerate(objects)}
    for switch in line.switches:
        x, y = left + (switch.frame - 1) * scale, rows[switch.object_id] * row
        frame = numbers[switch.frame - 1]
        title = f"switch in frame {frame}: object {switch.object_id}, {switch.before} → {switch.after}"
        parts.append(
            f'<path class="switch" d="M{x:.1f} {y + row}v{-row}m-3.5 -1h7l-3.5 5z"><title>{title}</title></path>'
        )
    parts.append("</svg>")
    return "".join(parts)


def stretches(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """First frame, last frame and track of each unbroken stretch; frames without a track are left out."""
    found: list[tuple[int, int, int]] = []
    for frame, track in pairs:
        if track < 0:
            continue
        if found and found[-1][2] == track and found[-1][1] == frame - 1:
            found[-1] = (found[-1][0], frame, track)
        else:
            found.append((frame, frame, track))
    return found


def _ticks(length: int) -> list[int]:
    step = 10 ** max(int(np.floor(np.log10(max(length, 10)))) - 0, 1)
    while length / step < 5 and step > 1:
        step = step // 2 if step % 5 or step // 5 * 5 != step or length / (step // 2) <= 12 else step // 5
    return list(range(0, length, max(step, 1)))


def latency_chart(latencies_ms: Float64) -> str:
    """Latency over the frames, with its median and its 99th percentile."""
    width, height, left, bottom, top = 1000, 160, 52, 22, 8
    p50, p99 = np.percentile(latencies_ms, [50, 99])
    high = max(float(p99) * 1.3, 1e-3)
    step = max(len(latencies_ms) // 1000, 1)
    shown = [float(latencies_ms[i : i + step].max()) for i in range(0, len(latencies_ms), step)]
    plot_w, plot_h = width - left - 70, height - top - bottom

    def vertical(value: float) -> float:
        return top + (1 - min(max(value, 0.0), high) / high) * plot_h

    points = " ".join(
        f"{left + i / max(len(shown) - 1, 1) * plot_w:.1f},{vertical(value):.1f}" for i, value in enumerate(shown)
    )
    parts = [f'<svg viewBox="0 0 {width} {height}" class="chart" role="img" aria-label="latency">']
    for name, value in (("0", 0.0), (f"p50 {p50:.1f} ms", float(p50)), (f"p99 {p99:.1f} ms", float(p99))):
        y = vertical(value)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + plot_w}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left + plot_w + 6}" y="{y + 4:.1f}">{name}</text>')
    parts.append(f'<polyline class="line weak" points="{points}"/>')
    middle = left + plot_w / 2
    parts.append(f'<text class="tick" x="{middle:.1f}" y="{height - 4}" text-anchor="middle">frames</text></svg>')
    return "".join(parts)


def interval_chart(low: float, high: float, middle: float, limit: float) -> str:
    """A confidence interval on a common scale around zero."""
    width, height = 180, 18

    def place(value: float) -> float:
        return width / 2 + float(np.clip(value / limit, -1, 1)) * (width / 2 - 6)

    return (
        f'<svg viewBox="0 0 {width} {height}" class="interval" role="img" aria-label="interval">'
        f'<line class="grid" x1="{width / 2}" x2="{width / 2}" y1="0" y2="{height}"/>'
        f'<line class="range" x1="{place(low):.1f}" x2="{place(high):.1f}" y1="9" y2="9"/>'
        f'<circle class="point" cx="{place(middle):.1f}" cy="9" r="4"/></svg>'
    )
