"""The report's frame: its head and its style."""

from __future__ import annotations

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tracks of $title</title>
<style>
:root { --ground: #fff; --ink: #1b1f24; --soft: #656d76; --line: #d8dee4; --panel: #f6f8fa; --accent: #0969da;
  --good: #1a7f37; --bad: #cf222e; --life: #e4e7eb; --bar: #ddf0ff; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3; --soft: #8d96a0; --line: #30363d;
  --panel: #161b22; --accent: #4493f8; --good: #3fb950; --bad: #f85149; --life: #262c34; --bar: #12304f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 28px 24px 60px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 19px; margin: 40px 0 10px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 22px 0 4px; }
p { margin: 4px 0 10px; } .sub, .legend { color: var(--soft); } .legend { font-size: 13px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(104px, 1fr)); gap: 10px; margin: 22px 0 8px; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px;
  color: var(--soft); font-size: 13px; }
.tile b { display: block; color: var(--ink); font-size: 25px; line-height: 1.25; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } .half { max-width: 720px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th, td { padding: 5px 9px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 500; color: var(--soft); } tr > th:first-child { text-align: left; color: var(--ink); }
td[style] { background: linear-gradient(90deg, var(--bar) var(--share), transparent var(--share)); }
tr.total th, tr.total td { font-weight: 650; border-top: 2px solid var(--line); color: var(--ink); }
.good { color: var(--good); } .bad { color: var(--bad); }
.required { list-style: none; padding: 0; } .required li::before { content: "✓ "; }
.required .bad::before { content: "✗ "; }
svg.chart { width: 100%; height: auto; display: block; }
svg.interval { width: 180px; height: 18px; vertical-align: middle; }
.grid { stroke: var(--line); stroke-width: 1; } .tick { fill: var(--soft); font-size: 11px; }
.label { fill: var(--soft); font-size: 11.5px; } .label.strong { fill: var(--accent); font-weight: 650; }
.line { fill: none; stroke-linejoin: round; } .line.weak { stroke: var(--soft); stroke-width: 1.1; opacity: .65; }
.line.strong { stroke: var(--accent); stroke-width: 2.6; }
.life { fill: var(--life); } .inside { font-size: 9px; fill: #000; pointer-events: none; }
.switch { stroke: var(--ink); fill: var(--ink); stroke-width: 1.2; }
.range { stroke: var(--accent); stroke-width: 3; opacity: .5; stroke-linecap: round; } .point { fill: var(--accent); }
.strips { display: grid; gap: 10px; }
.strip { display: flex; flex-wrap: wrap; gap: 6px; align-items: flex-start; background: var(--panel);
  border: 1px solid var(--line); border-radius: 8px; padding: 8px; }
.strip p { width: 128px; margin: 0; font-size: 13px; } .strip small { color: var(--soft); }
.strip i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 4px; }
figure { margin: 0; } img { display: block; border-radius: 4px; }
figcaption { font-size: 11px; color: var(--soft); text-align: center; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; font-size: 13px; } dt { font-weight: 600; }
dd { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
@media (max-width: 560px) { body { padding: 16px 10px 40px; } dl { grid-template-columns: 1fr; } dt { margin-top: 6px; }
  .wide svg.chart { min-width: 560px; } }
</style>
</head>
<body>
<h1>Tracks of $title</h1>
<p class="sub">$frames frames, scored by <code>alstm evaluate</code> with TrackEval</p>
$body
</body>
</html>
""")
