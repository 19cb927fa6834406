#include "lobit/report/html_assets.h"

namespace lobit::detail {
namespace {

constexpr std::string_view kStyle = R"css(
:root {
  --page: #fbfbfa; --card: #ffffff; --ink: #1c2024; --soft: #60666d; --faint: #8b9198;
  --line: #e4e6e8; --hover: #f3f5f7; --accent: #2563c9; --limit: #c2362f;
  --s0: #2f6fd0; --s1: #d9822b; --s2: #1d9a78; --s3: #a64d9b; --s4: #7b6bd6; --s5: #b3912a;
  --s6: #2b9fbe; --s7: #8f6848; --s8: #d2688f; --s9: #7a9636; --muted: #b9bfc6;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1b1f23; --ink: #e6e8ea; --soft: #a2a9b0; --faint: #7b838b;
    --line: #2c3238; --hover: #22272c; --accent: #7fb0ff; --limit: #ff7a70;
    --s0: #6ea5f5; --s1: #f0a35c; --s2: #4cc4a0; --s3: #d286c8; --s4: #a99cf5; --s5: #d8bb5e;
    --s6: #63c5e0; --s7: #c09a78; --s8: #f09ab9; --s9: #adc96b; --muted: #59616a;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 Inter, "Inter Variable", system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 72rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.25; font-weight: 650; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { margin: 3rem 0 1rem; font-size: 1.125rem; font-weight: 600; letter-spacing: -0.005em; }
.subtitle { margin: 0.4rem 0 0; color: var(--soft); overflow-wrap: anywhere; }
p, ul { max-width: 46rem; }
p { overflow-wrap: anywhere; }
li { overflow-wrap: anywhere; unicode-bidi: isolate; }
td, dd, code { unicode-bidi: isolate; }

.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 0.75rem; margin: 1.75rem 0 0; }
.cards > div { padding: 0.9rem 1rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.cards dt { color: var(--soft); font-size: 0.8125rem; }
.cards dd { margin: 0.15rem 0 0; font-size: 1.375rem; line-height: 1.3; font-weight: 600; letter-spacing: -0.01em; overflow-wrap: anywhere; }
.cards dd.note { margin-top: 0.2rem; color: var(--faint); font-size: 0.8125rem; line-height: 1.4; font-weight: 400; letter-spacing: 0; }

.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.35rem 1.5rem; margin: 0; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }

pre { margin: 1rem 0; padding: 0.9rem 1.1rem; overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
code { font: 0.8125rem/1.6 var(--mono); }

.chart { margin: 1.25rem 0; padding: 1.1rem 1.25rem 0.9rem; background: var(--card); border: 1px solid var(--line); border-radius: 10px; break-inside: avoid; }
.chart figcaption strong { font-weight: 600; }
.chart figcaption span { display: block; color: var(--soft); font-size: 0.8125rem; }
.chart .scroll { margin-top: 0.75rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; margin: 0.5rem 0 0; padding: 0; list-style: none; color: var(--soft); font-size: 0.8125rem; }
.legend li { display: flex; align-items: center; gap: 0.4rem; }
.swatch { width: 10px; height: 10px; flex: none; }
.scroll { overflow-x: auto; }
.plot { display: block; width: 100%; min-width: 40rem; height: auto; font-size: 12px; }
.plot text { fill: var(--soft); }
.plot text.label { fill: var(--ink); }
.plot text.value { fill: var(--soft); }
.plot text.tick { fill: var(--faint); font-size: 11.5px; }
.plot text.limit-label { fill: var(--limit); }
.grid { stroke: var(--line); stroke-width: 1; }
.zero { stroke: var(--faint); stroke-width: 1; }
.limit { stroke: var(--limit); stroke-width: 1.5; stroke-dasharray: 5 4; }
.moment { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
.cursor { stroke: var(--faint); stroke-width: 1; opacity: 0; }
.zone rect { fill: transparent; }
.zone:hover .cursor { opacity: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.over { stroke: var(--ink); stroke-width: 1.5; }
.bar:hover { opacity: 0.8; }
.area { opacity: 0.88; }
.ground { fill: var(--hover); }
.squares { shape-rendering: crispEdges; }
.squares .bar:hover { opacity: 1; }
.o1 { fill-opacity: 0.25; } .o2 { fill-opacity: 0.42; } .o3 { fill-opacity: 0.6; } .o4 { fill-opacity: 0.8; }
.bar.s0, .area.s0, .dot.s0 { fill: var(--s0); } .line.s0 { stroke: var(--s0); }
.bar.s1, .area.s1, .dot.s1 { fill: var(--s1); } .line.s1 { stroke: var(--s1); }
.bar.s2, .area.s2, .dot.s2 { fill: var(--s2); } .line.s2 { stroke: var(--s2); }
.bar.s3, .area.s3, .dot.s3 { fill: var(--s3); } .line.s3 { stroke: var(--s3); }
.bar.s4, .area.s4, .dot.s4 { fill: var(--s4); } .line.s4 { stroke: var(--s4); }
.bar.s5, .area.s5, .dot.s5 { fill: var(--s5); } .line.s5 { stroke: var(--s5); }
.bar.s6, .area.s6, .dot.s6 { fill: var(--s6); } .line.s6 { stroke: var(--s6); }
.bar.s7, .area.s7, .dot.s7 { fill: var(--s7); } .line.s7 { stroke: var(--s7); }
.bar.s8, .area.s8, .dot.s8 { fill: var(--s8); } .line.s8 { stroke: var(--s8); }
.bar.s9, .area.s9, .dot.s9 { fill: var(--s9); } .line.s9 { stroke: var(--s9); }
.bar.muted, .area.muted, .dot.muted { fill: var(--muted); } .line.muted { stroke: var(--muted); }

.table { max-height: 85vh; margin: 1rem 0; overflow: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
table { width: 100%; border-collapse: separate; border-spacing: 0; font-size: 0.8125rem; line-height: 1.45; }
caption { padding: 0.8rem 1.1rem 0.3rem; font-size: 0.875rem; font-weight: 600; text-align: left; }
th, td { padding: 0.42rem 0.8rem; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: 1.1rem; }
th:last-child, td:last-child { padding-right: 1.1rem; }
th { position: sticky; top: 0; z-index: 1; background: var(--card); color: var(--soft); font-weight: 500; white-space: nowrap; }
td { max-width: 24rem; overflow-wrap: break-word; }
td:last-child:not(.number) { min-width: 14rem; }
td:first-child:not(.number) { min-width: 15rem; overflow-wrap: anywhere; font-family: var(--mono); font-size: 0.78rem; }
th.number:first-child { width: 1%; }
th.number, td.number { text-align: right; white-space: nowrap; }
td details summary { cursor: pointer; }
td details ol { margin: 0.3rem 0 0.2rem; padding-left: 1.6rem; color: var(--soft); font-family: var(--mono); font-size: 0.72rem; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover td { background: var(--hover); }
tr.group td { font-weight: 600; background: var(--hover); }
tfoot td { border-top: 1px solid var(--line); border-bottom: 0; font-weight: 600; }
th button { all: unset; cursor: pointer; }
th button:hover { color: var(--ink); }
th button::after, th.number button::before { content: ""; display: inline-block; width: 1em; text-align: right; color: var(--accent); }
th.number button::before { text-align: left; }
th.number button::after { display: none; }
th[aria-sort] button { color: var(--ink); }
th[aria-sort="ascending"] button::after, th.number[aria-sort="ascending"] button::before { content: "\2191"; }
th[aria-sort="descending"] button::after, th.number[aria-sort="descending"] button::before { content: "\2193"; }
.filter { display: flex; align-items: baseline; gap: 0.8rem; margin: 1rem 0 -0.25rem; color: var(--faint); font-size: 0.8125rem; }
.filter input { width: 18rem; max-width: 100%; padding: 0.4rem 0.75rem; color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: 8px; font: inherit; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }

@media (max-width: 40rem) {
  main { padding: 1.75rem 1rem 3rem; }
  .cards { grid-template-columns: repeat(2, 1fr); }
  td:first-child:not(.number) { min-width: 9rem; }
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dd { margin-bottom: 0.5rem; }
}
@media print {
  :root {
    --page: #fff; --card: #fff; --ink: #000; --soft: #444; --faint: #666; --line: #ccc; --hover: #f2f2f2; --accent: #000; --limit: #c2362f;
    --s0: #2f6fd0; --s1: #d9822b; --s2: #1d9a78; --s3: #a64d9b; --s4: #7b6bd6; --s5: #b3912a;
    --s6: #2b9fbe; --s7: #8f6848; --s8: #d2688f; --s9: #7a9636; --muted: #b9bfc6;
  }
  main { max-width: none; padding: 0; }
  .table { max-height: none; overflow: visible; }
  .plot { min-width: 0; }
  .filter { display: none; }
  th { position: static; }
  tr { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)css";

// Without a script the page reads the same; with it, tables sort and long ones can be filtered.
constexpr std::string_view kScript = R"js(
(() => {
  'use strict';
  const kRowsWorthFiltering = 12;
  const order = new Intl.Collator('en', { numeric: true });

  // What row sorts by in column i: a number, a text, or null for "nothing there", which always comes last.
  function key(row, i, isNumber) {
    const cell = row.cells[i];
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    const text = cell.textContent;
    return isNumber || text === '' ? null : text;
  }

  function sort(table, th) {
    const isNumber = th.dataset.type === 'number';
    const before = th.getAttribute('aria-sort');
    const descending = before === null ? isNumber : before === 'ascending';
    for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
    th.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => ({ row, key: key(row, th.cellIndex, isNumber) }));
    rows.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
      const difference = typeof a.key === 'number' && typeof b.key === 'number'
        ? (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)
        : order.compare(a.key, b.key);
      return descending ? -difference : difference;
    });
    body.append(...rows.map((entry) => entry.row));
  }

  function addFilter(table) {
    const rows = Array.from(table.tBodies[0].rows, (row) => ({ row, text: row.textContent.toLowerCase() }));
    if (rows.length < kRowsWorthFiltering) return;
    const input = document.createElement('input');
    input.type = 'search';
    input.placeholder = 'Filter rows';
    input.setAttribute('aria-label', 'Filter rows: ' + table.caption.textContent);
    const count = document.createElement('span');
    count.setAttribute('aria-live', 'polite');
    input.addEventListener('input', () => {
      const wanted = input.value.trim().toLowerCase();
      let shown = 0;
      for (const { row, text } of rows) {
        row.hidden = !text.includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = wanted === '' ? '' : shown + ' of ' + rows.length;
    });
    const bar = document.createElement('div');
    bar.className = 'filter';
    bar.append(input, count);
    table.parentElement.before(bar);
  }

  for (const table of document.querySelectorAll('table.sortable')) {
    for (const th of table.tHead.rows[0].cells) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = th.textContent;
      button.addEventListener('click', () => sort(table, th));
      th.replaceChildren(button);
    }
    addFilter(table);
  }
})();
)js";

}  // namespace

std::string_view page_style() {
  return kStyle;
}
std::string_view page_script() {
  return kScript;
}

}  // namespace lobit::detail
