"""How a report looks: on a screen in light and dark, and on paper."""

COLOURS = 7
"""Of variants, beside the control's grey; told apart also by people who see few colours (Okabe, Ito)."""
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b2330; --soft: #5b6675; --line: #dfe4ea; --wash: #f5f7f9;
  --good: #0b7a4b; --good-wash: #e5f5ed; --even: #7a5b00; --even-wash: #fdf4dc; --bad: #b3261e; --bad-wash: #fdeceb;
  --open: #0a5d9c; --open-wash: #e6f1fb; --control: #6b7685; --c0: #0072b2; --c1: #c75300; --c2: #00835f; --c3: #b4508a;
  --c4: #8f6a00; --c5: #2b8cc4; --c6: #6a51b2; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e7ebf0; --soft: #9aa6b5; --line: #323a46;
  --wash: #1c222b; --good: #5fd39b; --good-wash: #12301f; --even: #f0c65a; --even-wash: #33290d; --bad: #ff8a80;
  --bad-wash: #3a1816; --open: #7cc0ff; --open-wash: #10293f; --control: #a3adba;
  --c0: #5cb3f0; --c1: #ff9552; --c2: #3fcf9f; --c3: #ea9ac8; --c4: #e2b93b; --c5: #9ad6f7; --c6: #b9a6f5; } }
* { box-sizing: border-box; }
html { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "PingFang SC", "Microsoft YaHei",
  "Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Zen Hei", sans-serif; background: var(--paper); color: var(--ink); }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 60rem; }
header p { margin: .25rem 0; color: var(--soft); }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; }
h2 { margin: 2.4rem 0 .6rem; font-size: 1.15rem; }
blockquote { margin: .9rem 0 0; padding-left: .9rem; border-left: 3px solid var(--line); font-size: 1.05rem; }
.verdict { margin: 1.5rem 0 1.25rem; padding: 1.1rem 1.3rem; border-radius: 10px; border: 1px solid currentColor; }
.verdict strong { display: block; font-size: 1.5rem; line-height: 1.3; }
.verdict p { margin: .4rem 0 0; color: var(--ink); }
.verdict .next { color: var(--soft); }
.good { color: var(--good); background: var(--good-wash); } .even { color: var(--even); background: var(--even-wash); }
.bad { color: var(--bad); background: var(--bad-wash); } .open { color: var(--open); background: var(--open-wash); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin: 0; }
.figures div { padding: .75rem 1rem; border-radius: 8px; background: var(--wash); }
.figures dt { color: var(--soft); font-size: .85rem; } .figures dd { margin: 0; font-size: 1.35rem;
  line-height: 1.35; font-weight: 600; }
.figures dd small { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { padding: .5rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: middle; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; } td.number, th.number { text-align: right; }
tr.winner td { background: var(--good-wash); }
.key { display: inline-block; width: .7em; height: .7em; margin-right: .5em; border-radius: 50%;
  background: currentColor; }
.control { color: var(--control); } .colour0 { color: var(--c0); } .colour1 { color: var(--c1); }
.colour2 { color: var(--c2); } .colour3 { color: var(--c3); } .colour4 { color: var(--c4); }
.colour5 { color: var(--c5); } .colour6 { color: var(--c6); }
.tag { padding: .1rem .5rem; border-radius: 1rem; font-size: .85rem; white-space: nowrap; }
.soft { color: var(--soft); } .nowrap { white-space: nowrap; }
figure { margin: 0; overflow-x: auto; } figcaption { color: var(--soft); font-size: .9rem; margin-top: .25rem; }
svg.chart { display: block; width: 100%; min-width: 34rem; height: auto; }
svg.small { width: 8.75rem; height: 1.4rem; display: block; }
svg text { font-size: 12.5px; font-family: inherit; fill: var(--soft); }
svg .label { font-weight: 600; font-size: 14px; fill: currentColor; }
svg .rule { stroke: var(--line); stroke-width: 1; } svg .axis { stroke: var(--soft); stroke-width: 1.5; }
svg .goal { stroke: var(--good); stroke-width: 1.5; stroke-dasharray: 6 5; } svg .goal-text { fill: var(--good); }
svg .goal-text, svg .axis-text { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
svg .decided { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
pre { margin: 0; padding: .8rem 1rem; border-radius: 8px; background: var(--wash); overflow-x: auto; font-size: .85rem;
  line-height: 1.45; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Noto Sans Mono CJK SC", monospace; }
footer { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .85rem; }
@media print {
  :root { --paper: #ffffff; --ink: #000000; --soft: #444444; --line: #cccccc; --wash: #f5f5f5; --good: #0b7a4b;
    --good-wash: #e5f5ed; --even: #7a5b00; --even-wash: #fdf4dc; --bad: #b3261e; --bad-wash: #fdeceb; --open: #0a5d9c;
    --open-wash: #e6f1fb; --control: #6b7685; --c0: #0072b2; --c1: #c75300; --c2: #00835f; --c3: #b4508a; --c4: #8f6a00;
    --c5: #2b8cc4; --c6: #6a51b2; color-scheme: light; }
  html { font-size: 12.5px; } body { max-width: none; padding: 0; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  .verdict, figure, tr, .figures, li { break-inside: avoid; } h2 { break-after: avoid; }
  .scroll, figure { overflow: visible; } svg.chart { min-width: 0; max-height: 7.5cm; }
}
"""
