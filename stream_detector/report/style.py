"""The style sheet. Colours are Okabe and Ito's, which colour-blind people can tell apart."""

STYLE = """
:root {
  --ink: #1d2329; --muted: #5a646f; --rule: #dde1e6; --ground: #ffffff; --panel: #f5f7f9;
  --hit: #d55e00; --normal: #0072b2; --missed: #a8327e; --good: #009e73; --heat-colour: 0 94 150;
  --spread: #8c98a4; --unknown: var(--spread);
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ec; --muted: #9da7b1; --rule: #353c44; --ground: #14181c; --panel: #1d2228;
    --hit: #ff8b3d; --normal: #5fb4ea; --missed: #e08bc4; --good: #3fc79d;
    --heat-colour: 95 180 234; --spread: #76828e;
  }
}
.unlabelled { --unknown: var(--normal); }
* { box-sizing: border-box; }
html { color-scheme: light dark; scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.5rem 1.5rem 3rem; max-width: 60rem; color: var(--ink);
  background: var(--ground); font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue",
  "Noto Sans", "Liberation Sans", Arial, sans-serif; font-variant-numeric: tabular-nums;
}
h1, h2, h3 { line-height: 1.25; font-weight: 600; text-wrap: balance; }
h1 { margin: 0 0 .5rem; font-size: 1.75rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: 0 0 1rem; font-size: 1.25rem; }
h3 { margin: 0 0 .5rem; font-size: 1rem; }
p { margin: 0 0 .75rem; }
a { color: var(--normal); text-underline-offset: .2em; }
:focus-visible { outline: 2px solid var(--normal); outline-offset: 2px; }
.lead { margin: 0; overflow-wrap: anywhere; }
.made, .note, figcaption, caption, .below, .facts, small { color: var(--muted); }
.made, .note, figcaption, caption { font-size: .875rem; }
.note, figcaption { max-width: 46rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin-top: 1rem; font-size: .9375rem; }
section { margin-top: 2.5rem; padding-top: 1.5rem; border-top: 1px solid var(--rule); }
footer {
  margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--rule); color: var(--muted);
  font-size: .875rem; max-width: 100%;
}
.tiles {
  display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 1px; margin: 0;
  border: 1px solid var(--rule); border-radius: 6px; overflow: hidden;
}
.tiles > div { padding: .75rem 1rem; box-shadow: 0 0 0 1px var(--rule); }
dt { font-size: .875rem; color: var(--muted); }
dd { margin: 0; font-size: 1.5rem; line-height: 1.3; font-weight: 600; }
dd.below { font-size: .8125rem; line-height: 1.4; font-weight: 400; }
.tiles + .note { margin: 1rem 0 0; }
figure { margin: 0 0 1.5rem; min-width: 0; }
figure:last-child, .pair:last-child figure { margin-bottom: 0; }
figcaption { margin-top: .5rem; }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.5rem 2rem;
  margin-bottom: 1.5rem; }
.legend {
  display: flex; flex-wrap: wrap; gap: .125rem 1.125rem; margin: 0 0 .5rem; padding: 0;
  list-style: none; font-size: .8125rem; color: var(--muted);
}
.legend li { display: flex; align-items: center; gap: .4rem; }
.legend svg { width: 22px; height: 12px; flex: none; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; }
.legend svg { display: inline; width: 22px; }
.narrow { display: none; }
svg text { font-size: 12px; fill: var(--muted); font-variant-numeric: tabular-nums; }
svg .end { text-anchor: end; }
svg .middle { text-anchor: middle; }
.grid { stroke: var(--rule); fill: none; }
.axis { stroke: var(--muted); fill: none; }
.line { fill: none; stroke: var(--ink); stroke-width: 1.5; stroke-linejoin: round; }
.line.hit { stroke: var(--hit); stroke-width: 2; }
.line.median { stroke: var(--spread); stroke-width: 1.75; }
.line.upper { stroke: var(--spread); stroke-width: 1; }
.line.limit { stroke: var(--ink); stroke-width: 1.25; }
.line.counted { stroke: var(--normal); stroke-width: 1.25; }
.line.possible { stroke: var(--ink); stroke-width: 1.5; }
.line.whisker { stroke: var(--muted); stroke-width: 1.25; }
.dashed { stroke-dasharray: 5 3; }
.area { stroke: none; fill: var(--spread); }
.area.spread { fill-opacity: .28; }
.area.left-out { fill-opacity: .13; }
.area.allowed { fill: var(--good); fill-opacity: .2; }
.area.hit-band { fill: var(--hit); fill-opacity: .2; }
.area.hit { fill: var(--hit); }
.area.normal-bar { fill: var(--normal); }
.area.normal { fill: var(--normal); fill-opacity: .35; stroke: var(--normal); }
.area.anomalous { fill: var(--hit); fill-opacity: .3; stroke: var(--hit); }
.area.unknown { fill: var(--unknown); fill-opacity: .35; stroke: var(--unknown); }
.bar { fill: var(--hit); }
.bar.false { fill: var(--normal); }
.bar.unknown { fill: var(--unknown); }
.bar path:hover, .cell:hover { stroke: var(--ink); stroke-width: 1.5; }
.mark { fill: var(--hit); stroke: none; }
.mark.ring { fill: var(--ground); fill-opacity: .6; stroke: var(--hit); stroke-width: 1.25; }
.mark.false { stroke: var(--normal); }
.mark.cross { fill: none; stroke-width: 1.25; }
.mark.missed { stroke: var(--missed); }
.mark.unknown { fill: var(--unknown); }
.mark.point { fill: var(--ink); stroke: var(--ground); }
.cell { fill: rgb(var(--heat-colour) / calc(.05 + .95 * var(--heat))); }
.scroll { overflow-x: auto; margin-bottom: 1.5rem; }
.scroll:last-child { margin-bottom: 0; }
table { width: 100%; border-collapse: collapse; font-size: .875rem; }
caption { padding-bottom: .375rem; text-align: left; color: var(--ink); font-weight: 600; }
th, td { padding: .375rem .75rem .375rem 0; border-bottom: 1px solid var(--rule);
  text-align: left; vertical-align: baseline; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--muted); font-weight: 400; vertical-align: bottom; }
tbody th { font-weight: 400; }
.number { text-align: right; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
.facts tbody th { width: 14rem; color: var(--muted); }
.facts thead { display: none; }
.matrix span { display: block; padding: .25rem .5rem; margin-right: -.5rem; border-radius: 4px; }
.matrix .good { --of: var(--good); }
.matrix .bad { --of: var(--hit); }
.matrix span { background: color-mix(in srgb, var(--of) calc(38% * var(--strength)), transparent); }
.bars caption { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); }
.bars tbody th { width: 75%; }
.bars tbody th > span { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr);
  align-items: center; gap: .125rem 1rem; overflow-wrap: anywhere; }
.found tbody th, .found td { overflow-wrap: anywhere; }
.compact { max-width: 34rem; }
.stack, .meter { display: flex; height: .625rem; }
.stack i, .meter i { display: block; background: var(--hit); }
.stack i + i { margin-left: 1px; }
.stack .false { background: var(--normal); }
.stack .unknown { background: var(--unknown); }
.meter i { background: var(--spread); }
.alerts { margin: 0; padding: 0; list-style: none; counter-reset: rank;
  display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem 2rem; }
.alerts > li { padding-top: .75rem; border-top: 1px solid var(--rule); break-inside: avoid; }
.alerts p { margin: 0 0 .25rem; }
.head { display: flex; flex-wrap: wrap; gap: 0 .875rem; }
.head b { overflow-wrap: anywhere; }
.severity { color: var(--muted); }
.verdict { font-weight: 600; color: var(--normal); }
.verdict.hit { color: var(--hit); }
p.facts { font-size: .875rem; }
.alerts ul { margin: .25rem 0 0; padding: 0; list-style: none; font-size: .875rem; }
.alerts ul li { display: grid; grid-template-columns: 3.5rem 2.5rem minmax(0, 1fr); gap: .5rem;
  align-items: baseline; }
.alerts ul li > span { overflow-wrap: anywhere; }
.alerts ul b { font-weight: 400; }
.share { text-align: right; color: var(--muted); }
small { display: inline-block; font-size: .8125rem; }
p code { white-space: nowrap; }
details { margin-top: .5rem; }
summary { cursor: pointer; color: var(--normal); font-size: .9375rem; }
details[open] summary { margin-bottom: .75rem; }
pre { margin: 0 0 .75rem; padding: 1rem; overflow-x: auto; background: var(--panel);
  border-radius: 6px; font: .8125rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas,
  "Liberation Mono", monospace; }
@media (max-width: 44rem) {
  body { padding: 1.5rem 1rem 2rem; }
  h1 { font-size: 1.5rem; }
  .pair, .alerts { grid-template-columns: minmax(0, 1fr); }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .facts tbody th { width: 40%; }
  .bars tbody th { width: auto; }
  .bars tbody th > span { grid-template-columns: minmax(0, 1fr); }
  .wide { display: none; }
  .narrow { display: block; }
}
@media print {
  :root {
    --ink: #000; --muted: #444; --rule: #ccc; --ground: #fff; --panel: #f4f4f4; --hit: #d55e00;
    --normal: #0072b2; --missed: #a8327e; --good: #009e73; --heat-colour: 0 94 150;
    --spread: #8c98a4;
  }
  @page { margin: 15mm; }
  html { color-scheme: light; }
  body { padding: 0; max-width: none; font-size: 10pt; print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
  nav { display: none; }
  section { break-inside: auto; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .tiles, .note { break-inside: avoid; }
  .scroll, pre { overflow: visible; }
  pre { white-space: pre-wrap; }
  .wide { display: block; }
  .narrow { display: none; }
  .pair, .alerts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
"""
