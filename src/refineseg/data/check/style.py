"""The look of the check's page: light and dark, by what the reader's system prefers."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #f7f7f5; --card: #ffffff; --ink: #1d2126; --quiet: #69717b; --line: #e2e3e0; --track: #ecedea;
  --bar: #4a6fa5; --error: #c0362c; --warning: #b26a00; --note: #3b6ea8; --clean: #2f7d4f; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --card: #1d2125; --ink: #e7e9ea; --quiet: #98a1aa; --line: #30363c; --track: #2a2f34;
  --bar: #7fa3d6; --error: #ff7b6e; --warning: #f0b454; --note: #86b6ef; --clean: #6fcf97; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { font-size: 24px; line-height: 1.25; margin: 2px 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 40px 0 12px; }
h3 { font-size: 14px; margin: 0 0 4px; display: flex; gap: 10px; align-items: baseline; }
p { margin: 0 0 6px; }
code { font: 13px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--quiet); }
.quiet { color: var(--quiet); font-weight: 400; font-size: 13px; }
.eyebrow { color: var(--quiet); font-size: 13px; letter-spacing: .04em; }
header { border-left: 5px solid var(--clean); padding-left: 16px; }
header.error { border-color: var(--error); } header.warning { border-color: var(--warning); }
header.note { border-color: var(--note); }
.verdict { font-size: 16px; }
.facts { display: flex; flex-wrap: wrap; gap: 8px 36px; margin: 22px 0 0; }
.facts dt { color: var(--quiet); font-size: 13px; } .facts dd { margin: 0; font-size: 16px; }
.finding { background: var(--card); border: 1px solid var(--line); border-left: 5px solid var(--note);
  border-radius: 8px; padding: 14px 18px; margin: 0 0 12px; overflow-wrap: anywhere; }
.finding.error { border-left-color: var(--error); } .finding.warning { border-left-color: var(--warning); }
.mark { color: var(--note); } .error .mark { color: var(--error); } .warning .mark { color: var(--warning); }
.fix { color: var(--ink); } .fix b { font-weight: 600; }
details { margin-top: 6px; font-size: 13px; } summary { cursor: pointer; color: var(--quiet); }
details ul { margin: 6px 0 0; padding-left: 20px; color: var(--quiet); }
.strip { display: flex; flex-wrap: wrap; gap: 10px; margin: 10px 0 2px; }
.bars { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 18px; }
.row { display: grid; grid-template-columns: minmax(110px, 190px) 1fr 74px minmax(110px, 170px); gap: 14px;
  align-items: center; padding: 3px 0; }
.sizes .row { grid-template-columns: minmax(90px, 120px) 1fr 74px; }
.row.absent { color: var(--quiet); }
.name { display: flex; align-items: center; gap: 9px; overflow-wrap: anywhere; }
.name i, .key i { width: 13px; height: 13px; border-radius: 3px; flex: none; display: inline-block;
  border: 1px solid color-mix(in srgb, var(--ink) 35%, transparent); }
.track { background: var(--track); border-radius: 4px; height: 12px; overflow: hidden; }
.track b { display: block; height: 100%; min-width: 1px; background: var(--bar); border-radius: 4px;
  box-shadow: inset 0 0 0 1px color-mix(in srgb, var(--ink) 30%, transparent); }
.absent .track b { display: none; }
.figure { text-align: right; font-variant-numeric: tabular-nums; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 14px; padding: 0;
  font-size: 13px; }
.key li { display: flex; align-items: center; gap: 7px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 16px; align-items: end; }
figure { margin: 0; } figure img { display: block; max-width: 100%; border-radius: 6px; }
.grid img { width: 100%; }
figcaption { font-size: 13px; margin-top: 4px; overflow-wrap: anywhere; }
@media (max-width: 640px) { .row, .sizes .row { grid-template-columns: 1fr 70px; gap: 3px 14px; }
  .row .track { grid-column: 1 / -1; order: 3; }
  .row .quiet { grid-column: 1 / -1; order: 4; } }
"""
