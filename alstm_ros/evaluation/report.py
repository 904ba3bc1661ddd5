"""The HTML report: one file that needs nothing else, to be mailed, archived by a CI, opened in ten years."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from alstm_ros.evaluation import charts
from alstm_ros.evaluation.compare import Difference, Requirement, gains
from alstm_ros.evaluation.page import PAGE
from alstm_ros.evaluation.scoring import METRICS, Judged, Score
from alstm_ros.evaluation.strips import Strip, choose_switches, cut_out
from alstm_ros.recordings.frames import FrameSource
from alstm_ros.recordings.sinks import PartFile
from alstm_ros.recordings.sources import SourceOptions, open_source

TILES = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "Frag", "AP50")
COLUMNS = (
    *TILES,
    "AP50_raw",
    "AP50:95",
    "AP50:95_raw",
    "flicker",
    "flicker_raw",
    "length",
    "latency_p50",
    "latency_p99",
)
STRIPS = 60
"""At most so many switches are shown, shared among the sequences: a strip is some 20 kB."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation came to.

    Attributes:
        judged: the sequences.
        everything: all of them together.
        differences: to another run; empty where there is none.
        requirements: to be met; empty where there are none.
        about: what the report says of its making, as titles and texts.
    """

    judged: Sequence[Judged]
    everything: Score
    differences: Sequence[Difference] = ()
    requirements: Sequence[Requirement] = ()
    about: Sequence[tuple[str, str]] = ()


def write_report(path: Path, outcome: Outcome, images: Sequence[Path], topic: str) -> None:
    """Writes the report.

    Args:
        path: the file.
        outcome: what it tells.
        images: recordings to cut id switches out of, by name.
        topic: the image topic of bags among them.

    Raises:
        DataError: the file cannot be written, or a recording cannot be read.
    """
    with PartFile(path) as file:  # what cannot be written is refused first
        file.part.write_text(_page(outcome, images, topic), encoding="utf-8")


def _page(outcome: Outcome, images: Sequence[Path], topic: str) -> str:
    judged, everything = outcome.judged, outcome.everything
    differences, requirements = outcome.differences, outcome.requirements
    sources = _sources(judged, images, topic)
    limit = max(STRIPS // max(len(judged), 1), 3)
    body = [
        _about(outcome.about),
        _tiles(everything),
        _requirements(requirements, {**everything.numbers, **gains(differences)}),
        _comparison(differences),
        _scores([*(item.score for item in judged), everything] if len(judged) > 1 else [everything]),
        _curves(judged, everything),
        *(_sequence(item, sources.get(item.score.name), limit) for item in judged),
        _glossary(),
    ]
    title = judged[0].score.name if len(judged) == 1 else f"{len(judged)} sequences"
    return PAGE.substitute(title=escape(title), frames=everything.frames, body="\n".join(part for part in body if part))


def _about(about: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in about)
    return f"<dl class='about'>{rows}</dl>" if rows else ""


def _sources(judged: Sequence[Judged], paths: Sequence[Path], topic: str) -> dict[str, FrameSource]:
    """Image sources by sequence; a single one belongs to a single sequence whatever it is called."""
    found = [open_source(path, SourceOptions(topic=topic)) for path in paths]
    if len(found) == len(judged) == 1:
        return {judged[0].score.name: found[0]}
    return {source.name: source for source in found}


def _number(name: str, numbers: dict[str, float]) -> str:
    return f"{numbers[name]:.{METRICS[name].digits}f}" if name in numbers else "-"


def _tiles(score: Score) -> str:
    tiles = "".join(
        f'<div class="tile" title="{escape(METRICS[name].text)}"><b>{_number(name, score.numbers)}</b>{name}</div>'
        for name in TILES
    )
    return f'<div class="tiles">{tiles}</div>'


def _requirements(requirements: Sequence[Requirement], numbers: dict[str, float]) -> str:
    if not requirements:
        return ""
    rows = []
    for item in requirements:
        failure = item.check(numbers)
        digits = METRICS[item.metric.removeprefix("+")].digits
        kind, text = ("bad", escape(failure)) if failure else ("good", f"met with {numbers[item.metric]:.{digits}f}")
        rows.append(f'<li class="{kind}"><b>{escape(str(item))}</b> {text}</li>')
    return f"<h2>Required</h2><ul class='required'>{''.join(rows)}</ul>"


def _comparison(differences: Sequence[Difference]) -> str:
    if not differences:
        return ""
    rows = []
    for item in differences:
        digits = METRICS[item.metric].digits
        gap = item.here - item.there
        sure = "good" if item.worse < 0.025 else "bad" if item.worse > 0.975 and gap else ""
        limit = max(abs(item.low), abs(item.high), 1e-9) * 1.1
        interval = charts.interval_chart(item.low, item.high, gap, limit)
        rows.append(
            f"<tr><th>{item.metric}</th><td>{item.here:.{digits}f}</td><td>{item.there:.{digits}f}</td>"
            f'<td class="{sure}">{gap:+.{digits}f}</td><td>{interval}</td>'
            f"<td>{item.low:+.{digits}f} … {item.high:+.{digits}f}</td><td>{100 * item.worse:.1f} %</td></tr>"
        )
    head = "<tr><th></th><th>this run</th><th>other run</th><th>difference</th><th colspan=2>95 % interval</th>"
    return (
        "<h2>Against the other run</h2><p>Paired bootstrap over sequences; the last column is the share of resamples "
        f"in which this run is not better.</p><div class='wide'><table>{head}<th>not better</th></tr>{''.join(rows)}"
        "</table></div>"
    )


def _scores(scores: Sequence[Score]) -> str:
    known = [name for name in COLUMNS if any(name in score.numbers for score in scores)]
    head = "".join(f'<th title="{escape(METRICS[name].text)}">{name}</th>' for name in known)
    rows = []
    for score in scores:
        cells = []
        for name in known:
            value = score.numbers.get(name)
            share = f' style="--share:{max(value, 0):.1f}%"' if value is not None and name in TILES[:5] else ""
            cells.append(f"<td{share}>{_number(name, score.numbers)}</td>")
        kind = ' class="total"' if score.name == "all" else ""
        rows.append(f"<tr{kind}><th>{escape(score.name)}</th>{''.join(cells)}</tr>")
    return f"<h2>Scores</h2><div class='wide'><table><tr><th></th>{head}</tr>{''.join(rows)}</table></div>"


def _curves(judged: Sequence[Judged], everything: Score) -> str:
    curves = {item.score.name: item.score.curve for item in judged} if len(judged) > 1 else {}
    curves["all"] = everything.curve
    return f"<h2>HOTA over alpha</h2><div class='half'>{charts.curve_chart(curves, 'all')}</div>"


def _sequence(item: Judged, images: FrameSource | None, limit: int) -> str:
    parts = [f"<h2>{escape(item.score.name)}</h2>"]
    for name, line in item.timelines.items():
        title = f" of class {escape(name)}" if len(item.timelines) > 1 else ""
        parts.append(
            f"<h3>Who was followed by which track{title}</h3>"
            f"<p class='legend'>{len(line.followed)} objects, {len(line.switches)} id switches. One row is one object "
            "of the ground truth, a colour is a track, grey is not followed, ▾ is a switch.</p>"
            f"<div class='wide'>{charts.timeline_chart(line, item.frames.tolist())}</div>"
        )
    if len(item.recording.latencies_ms):
        parts.append("<h3>Speed: latency of each frame</h3>" + charts.latency_chart(item.recording.latencies_ms))
    chosen = choose_switches(item.timelines, limit)
    if chosen:
        parts.append(_strips(item, chosen, images))
    return "<section>" + "".join(parts) + "</section>"


def _strips(item: Judged, chosen: Sequence[tuple[str, object]], images: FrameSource | None) -> str:
    total = sum(len(line.switches) for line in item.timelines.values())
    shown = f"{len(chosen)} of {total}, evenly spread" if len(chosen) < total else f"all {total}"
    where = "" if images else " No images were given (--images), so the boxes stand on plain ground."
    strips: list[Strip] = []
    for name in item.timelines:
        mine = [switch for other, switch in choose_switches(item.timelines, len(chosen)) if other == name]
        strips += cut_out(mine, item.prepared[name], images, item.frames.tolist())
    figures = []
    for strip in sorted(strips, key=lambda strip: strip.switch.frame):
        switch = strip.switch
        pictures = "".join(
            f'<figure><img src="{picture}" alt="frame {frame}"><figcaption>{frame}</figcaption></figure>'
            for frame, picture in zip(item.frames[np.array(strip.frames) - 1], strip.pictures, strict=True)
        )
        gap = switch.frame - switch.last_frame - 1
        pause = f" after {gap} frame{'s' if gap > 1 else ''} without" if gap else ""
        before, after = charts.ink(switch.before), charts.ink(switch.after)
        figures.append(
            f'<div class="strip"><p>frame {item.frames[switch.frame - 1]}<br>object {switch.object_id}<br>'
            f'<i style="background:{before}"></i>{switch.before} → <i style="background:{after}"></i>{switch.after}'
            f"<br><small>{pause}</small></p>{pictures}</div>"
        )
    return (
        f"<h3>Id switches</h3><p class='legend'>Shown: {shown}. White is the object, a colour a track.{where}</p>"
        f"<div class='strips'>{''.join(figures)}</div>"
    )


def _glossary() -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{escape(metric.text)}</dd>" for name, metric in METRICS.items())
    return f"<h2>What the numbers mean</h2><dl>{rows}</dl>"
