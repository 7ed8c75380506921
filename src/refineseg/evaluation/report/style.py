"""Style and script of pages with scores, beyond the common style: sorting and enlarging."""

STYLE = """
.score { display: flex; flex-wrap: wrap; gap: 16px 48px; align-items: center; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; padding: 20px 24px; margin-top: 22px; }
.headline { flex: 0 1 300px; } .headline dt, .headline span { color: var(--quiet); font-size: 13px; }
.headline b { display: block; font-size: 44px; line-height: 1.15; font-weight: 650; letter-spacing: -.02em; }
.range { position: relative; height: 14px; margin: 8px 0 4px; background: var(--track); border-radius: 7px; }
.range i { position: absolute; top: 0; bottom: 0; min-width: 3px; background: var(--bar); opacity: .45; }
.range u { position: absolute; top: -3px; bottom: -3px; width: 3px; margin-left: -1px; border-radius: 2px;
  background: var(--bar); }
.headline small { display: flex; justify-content: space-between; color: var(--quiet); font-size: 11px;
  margin-bottom: 6px; }
.score .facts { flex: 1 1 420px; margin: 0; display: grid; gap: 12px 28px;
  grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
.score .facts dd { font-variant-numeric: tabular-nums; }
.protocol { margin-top: 12px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 16px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 18px;
  min-width: 0; }
.card h3 { font-size: 15px; } .card > p { margin: 6px 0 0; }
svg { display: block; width: 100%; height: auto; margin: 6px auto 0; }
svg text { fill: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .figure-text { fill: var(--ink); font-size: 11px; }
svg .grid-line { stroke: var(--line); } svg .bar { fill: var(--bar); } svg .bar.lit { fill: var(--error); }
svg .gap { fill: var(--error); opacity: .55; }
svg .ideal { stroke: var(--ink); stroke-dasharray: 5 4; opacity: .6; }
svg .area { fill: var(--bar); opacity: .15; } svg .curve { fill: none; stroke: var(--bar); stroke-width: 2; }
svg .line-0 { stroke: var(--bar); fill: var(--bar); } svg .line-1 { stroke: var(--clean); fill: var(--clean); }
svg .curve[class] { fill: none; }
.key .line-0 { background: var(--bar); } .key .line-1 { background: var(--clean); }
svg .right { fill: var(--clean); } svg .wrong { fill: var(--error); }
svg .border { fill: none; stroke: var(--line); }
.matrix { display: grid; grid-template-columns: minmax(0, 3fr) minmax(230px, 1fr); gap: 8px 28px; }
.scroll { overflow-x: auto; }
.words { margin: 0; padding: 0; list-style: none; }
.words li { padding: 5px 0; border-bottom: 1px solid var(--line); } .words li:last-child { border: 0; }
.classes .row { grid-template-columns: minmax(110px, 170px) 1fr 62px 62px 62px; }
.classes .head { color: var(--quiet); font-size: 13px; border-bottom: 1px solid var(--line); margin-bottom: 4px; }
.classes .track { position: relative; overflow: visible; }
.classes .track u { position: absolute; top: -3px; bottom: -3px; width: 3px; margin-left: -1px;
  background: var(--ink); border-radius: 2px; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 2px 0; cursor: pointer; }
button:hover { color: var(--ink); } button.on { color: var(--ink); font-weight: 600; }
button.number { text-align: right; } .name button, button.name { text-align: left; }
.edges .row { grid-template-columns: minmax(110px, 150px) 1fr 112px; }
.edges .track b { opacity: .4; } .edges .track { position: relative; }
.edges .track b + b { position: absolute; top: 0; left: 0; opacity: 1; }
.shown { margin: 0 0 16px; } .shown h3 { font-size: 14px; font-weight: 600; flex-wrap: wrap; gap: 0 10px; }
.views { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; }
.views img, .pair img { width: 100%; cursor: zoom-in; } .views figcaption { color: var(--quiet); margin-top: 2px; }
.suspects { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: 16px; }
.suspects .card { padding: 12px; } .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; }
.suspects p { margin: 8px 0 0; } .suspects .rank { color: var(--quiet); }
dialog { border: 0; padding: 0; background: none; max-width: 96vw; max-height: 96vh; }
dialog::backdrop { background: rgb(0 0 0 / .82); }
dialog img { display: block; width: min(96vw, 1200px); max-height: 92vh; object-fit: contain; cursor: zoom-out; }
dialog p { color: #fff; text-align: center; margin: 6px 0 0; }
.chip { display: inline-block; max-width: 100%; } h3.group { font-size: 16px; margin: 22px 0 8px; }
.swatch { width: 11px; height: 11px; border-radius: 3px; display: inline-block; margin-right: 4px;
  border: 1px solid color-mix(in srgb, var(--ink) 35%, transparent); }
@media (max-width: 760px) { .matrix { grid-template-columns: 1fr; } .views { grid-template-columns: 1fr 1fr; } }
@media (max-width: 640px) {
  .classes .row { grid-template-columns: 1fr 52px 60px 50px; gap: 3px 8px; }
  .classes .head .space { display: none; }
  .scroll svg { min-width: 540px; } .score .facts { grid-template-columns: 1fr 1fr; gap: 10px 16px; }
  .edges .row { grid-template-columns: 1fr 112px; } main { padding: 24px 14px 48px; }
  .classes .row .figure, .classes .row .number { order: 2; } }
"""

SCRIPT = """
for (const button of document.querySelectorAll('button[data-key]')) button.onclick = () => {
  const table = button.closest('.bars'), key = button.dataset.key;
  const again = button.classList.contains('on') && !button.classList.contains('up');
  for (const other of table.querySelectorAll('button')) other.classList.remove('on', 'up');
  button.classList.add('on'); if (again) button.classList.add('up');
  const value = row => key === 'name' ? row.dataset.name.toLowerCase() : -Number(row.dataset[key]);
  const rows = [...table.querySelectorAll('.row[data-name]')];
  rows.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (again ? -1 : 1));
  table.append(...rows);
};
const box = document.createElement('dialog');
box.onclick = () => box.close();
document.body.append(box);
for (const image of document.querySelectorAll('.views img, .pair img')) image.onclick = () => {
  const large = new Image(), words = document.createElement('p');
  large.src = image.src; large.alt = words.textContent = image.alt;
  box.replaceChildren(large, words); box.showModal();
};
"""
