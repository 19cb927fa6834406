"""The pages that lobit makes, in Chromium: nothing is loaded or complained of, tables sort, and the charts of the
memory report hold the numbers of the data in the page.

Run as: test_pages.py lobit_make_pages lobit [unittest arguments]
"""

import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from chromium import BrowserError, Chromium, find_chromium

MAKE_PAGES, PROGRAM = sys.argv.pop(1), sys.argv.pop(1)
PAGES = ("convert", "inspect", "verify", "memory", "nothing", "conversion")
LEVELS = 5  # of colour in an arena map

# Clicks a column's title and gives the keys of the rows in their order, before and after.
SORT = """(() => {
  const out = [];
  for (const table of document.querySelectorAll('table.sortable')) {
    for (const th of table.tHead.rows[0].cells) {
      const isNumber = th.dataset.type === 'number';
      const keys = () => Array.from(table.tBodies[0].rows, (row) => {
        const cell = row.cells[th.cellIndex];
        if (!isNumber) return cell.textContent;
        // JSON has no infinity.
        return cell.dataset.sort === undefined ? null : Math.max(-1e300, Math.min(1e300, Number(cell.dataset.sort)));
      });
      const before = keys();
      const clicks = [];
      for (let i = 0; i < 2; ++i) {
        th.querySelector('button').click();
        clicks.push({ order: th.getAttribute('aria-sort'), keys: keys() });
      }
      out.push({ title: th.textContent, isNumber, before, clicks });
    }
  }
  return out;
})()"""

USAGE = """(() => {
  const svg = document.querySelector('.area').closest('svg');
  const plain = (path) => ({
    name: path.dataset.name, values: path.dataset.values, d: path.getAttribute('d'), css: path.getAttribute('class'),
    fill: getComputedStyle(path).fill, stroke: getComputedStyle(path).stroke });
  const limit = svg.querySelector('line.limit');
  return {
    times: svg.querySelector('[data-times]').dataset.times,
    areas: Array.from(svg.querySelectorAll('path.area'), plain),
    line: plain(svg.querySelector('path.over')),
    limit: { value: Number(limit.dataset.value), y: Number(limit.getAttribute('y1')) },
    floor: Number(svg.querySelector('line.zero').getAttribute('y1')),
    legend: Array.from(svg.closest('figure').querySelectorAll('.legend li'), (li) => ({
      name: li.textContent, fill: getComputedStyle(li.querySelector('.swatch *')).fill })),
    tooltips: Array.from(svg.querySelectorAll('.zone title'), (title) => title.textContent) };
})()"""

ARENA = """Array.from(document.querySelectorAll('.squares'), (group) => {
  const number = (rect, name) => Number(rect.getAttribute(name));
  return Array.from(group.querySelectorAll('rect'), (rect) => ({
    column: number(rect, 'x'), row: number(rect, 'y'), columns: number(rect, 'width'), rows: number(rect, 'height'),
    css: rect.getAttribute('class'), fill: getComputedStyle(rect).fill, box: rect.getBoundingClientRect().toJSON(),
    title: rect.textContent }));
})"""

# Texts of a drawing that run into each other or out of it.
OVERLAPS = """(() => {
  const out = [];
  for (const svg of document.querySelectorAll('svg.plot')) {
    const frame = svg.getBoundingClientRect();
    const texts = Array.from(svg.querySelectorAll('text'), (t) => ({ text: t.textContent, box: t.getBoundingClientRect() }));
    texts.forEach((a, i) => {
      if (a.box.left < frame.left - 1 || a.box.right > frame.right + 1 || a.box.top < frame.top - 1 ||
          a.box.bottom > frame.bottom + 1) out.push(a.text + ' lies outside');
      for (const b of texts.slice(i + 1)) {
        if (a.box.left < b.box.right && b.box.left < a.box.right && a.box.top < b.box.bottom - 2 &&
            b.box.top < a.box.bottom - 2) out.push(a.text + ' meets ' + b.text);
      }
    });
  }
  return out;
})()"""


def corners(path):
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-0-9.]+) ([-0-9.]+)", path)]


def numbers(text):
    """What is unknown is a dash."""
    return [None if n == "-" else float(n) for n in text.split()]


class Pages(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="lobit-pages-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        subprocess.run([MAKE_PAGES, cls.folder], check=True, timeout=60)
        cls.report_a_conversion()
        cls.browser = Chromium()
        cls.addClassCleanup(cls.browser.close)

    @classmethod
    def report_a_conversion(cls):
        """The memory of the program itself, as conversion.html and .json."""
        source, trace, page = cls.folder / "m.gguf", cls.folder / "t.csv", cls.folder / "conversion.html"
        target = ("-o", cls.folder / "o.gguf", "--to", "tq2_0", "--ternary", "absmean")
        for args in (
            ("synth", "-o", source, "--size", "4MiB"),
            ("convert", source, *target, "--verify", "--memory-limit", "8MiB", "--memory-trace", trace),
            ("mem", "report", trace, "--report", page, "--json"),
        ):
            done = subprocess.run([PROGRAM, *map(str, args)], check=True, timeout=60, capture_output=True)
        page.with_suffix(".json").write_bytes(done.stdout)

    def open(self, name):
        return self.browser.open(self.folder / f"{name}.html")

    def memory(self, name="memory"):
        page = self.open(name)
        data = json.loads(page.evaluate("document.getElementById('data').textContent"))
        return page, data

    def test_pages_load_alone_and_complain_of_nothing(self):
        for name in PAGES:
            with self.subTest(name):
                page = self.open(name)
                self.assertEqual(page.problems, [])
                self.assertEqual(page.requests, [(self.folder / f"{name}.html").resolve().as_uri()])
                self.assertTrue(page.evaluate("document.querySelector('h1').offsetHeight > 0"))
                # The style was let in: the policy of the page names its hash.
                self.assertEqual(page.evaluate("getComputedStyle(document.querySelector('.cards')).display"), "grid")

    def test_the_policy_stops_what_is_not_the_pages_own(self):
        """So that the test above would see a violation."""
        page = self.open("memory")
        page.evaluate(
            """(() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1';
                        document.body.append(s); })()"""
        )
        self.assertIsNone(page.evaluate("window.bad"))
        self.assertIn("Content Security Policy", " ".join(page.problems))

    def test_tables_sort_by_a_click(self):
        for name in PAGES:
            with self.subTest(name):
                columns = self.open(name).evaluate(SORT)
                self.assertTrue(columns or name in ("nothing",))
                for column in columns:
                    self.check_sorted(column)

    def check_sorted(self, column):
        for click, order in zip(column["clicks"], ("descending", "ascending") if column["isNumber"] else
                                ("ascending", "descending")):  # fmt: skip
            self.assertEqual(click["order"], order, column["title"])
            self.assertCountEqual(click["keys"], column["before"])
            keys = [k for k in click["keys"] if k is not None and k != ""]
            if column["isNumber"]:
                self.assertEqual(keys, sorted(keys, reverse=order == "descending"), column["title"])
            self.assertEqual(click["keys"][: len(keys)], keys, "rows without a value come last")

    def test_the_page_has_the_data_of_the_json(self):
        for name in ("memory", "conversion"):
            _, data = self.memory(name)
            self.assertEqual(data, json.loads((self.folder / f"{name}.json").read_text()))

    def test_areas_hold_the_bytes_of_the_timeline(self):
        for name in ("memory", "conversion"):
            with self.subTest(name):
                self.check_areas(*self.memory(name))

    def check_areas(self, page, data):
        usage = page.evaluate(USAGE)
        timeline = data["timeline"]
        for seconds, moment in zip(numbers(usage["times"]), timeline, strict=True):
            self.assertAlmostEqual(seconds, moment["time_ns"] / 1e9)
        values = {area["name"]: numbers(area["values"]) for area in usage["areas"]}
        for i, moment in enumerate(timeline):
            self.assertEqual(sum(v[i] for v in values.values()), moment["live_bytes"])
            for tag, bytes_ in zip(data["tags"], moment["bytes_by_tag"]):
                self.assertEqual(values.get(tag, [0] * len(timeline))[i], bytes_)
        self.assertEqual(numbers(usage["line"]["values"]), [m["committed"] or None for m in timeline])

    def test_areas_the_line_and_the_limit_lie_at_their_values(self):
        page, data = self.memory()
        usage = page.evaluate(USAGE)
        self.assertEqual(usage["limit"]["value"], data["limit"])
        unit = (usage["floor"] - usage["limit"]["y"]) / data["limit"]  # of the drawing, for a byte
        sums = [0] * len(data["timeline"])
        for area in usage["areas"]:
            sums = [a + b for a, b in zip(sums, numbers(area["values"]))]
            for (_, y), top in zip(corners(area["d"]), sums):
                self.assertAlmostEqual(y, usage["floor"] - top * unit, delta=0.02)
        for (_, y), moment in zip(corners(usage["line"]["d"]), data["timeline"], strict=True):
            self.assertAlmostEqual(y, usage["floor"] - moment["committed"] * unit, delta=0.02)

    def test_every_tag_is_in_the_legend_in_its_colour(self):
        page, data = self.memory()
        for colours in ("light", "dark"):
            page.emulate(colours)
            usage = page.evaluate(USAGE)
            legend = {item["name"]: item["fill"] for item in usage["legend"]}
            held = [tag for tag, most in zip(data["tags"], data["peak_by_tag"]) if most > 0]
            self.assertCountEqual(legend, [*held, "committed"])
            for area in usage["areas"]:
                self.assertEqual(area["fill"], legend[area["name"]])
            self.assertEqual(len({legend[tag] for tag in held}), len(held), "no two tags share a colour")
        self.assertGreater(len(usage["tooltips"]), 100)
        self.assertTrue(all("weights: " in t for t in usage["tooltips"][1:]))

    def test_squares_are_those_of_the_map(self):
        page, data = self.memory()
        (arena,) = data["arenas"]
        segments = page.evaluate(ARENA)
        self.assertEqual(len(segments), 1 + len(arena["gaps"]))
        fills = {area["name"]: area["fill"] for area in page.evaluate(USAGE)["areas"]}
        shown = {}
        for rect in sum(segments, []):
            for row in range(rect["row"], rect["row"] + rect["rows"]):
                for column in range(rect["column"], rect["column"] + rect["columns"]):
                    self.assertNotIn((row, column), shown)
                    shown[row, column] = (rect["fill"], rect["css"].split()[-1])
        for row, (live, tags) in enumerate(zip(arena["live"], arena["tag"], strict=True)):
            for column, (share, tag) in enumerate(zip(bytes.fromhex(live), bytes.fromhex(tags), strict=True)):
                wanted = (fills[data["tags"][tag]], f"o{-(-share * LEVELS // 255)}") if share else None
                self.assertEqual(shown.get((row, column)), wanted, (row, column))

    def test_higher_addresses_lie_above_and_gaps_between(self):
        page, data = self.memory()
        below, above = page.evaluate(ARENA)
        self.assertTrue(all(r["row"] < data["arenas"][0]["gaps"][0]["row"] for r in below))
        self.assertLess(max(r["box"]["bottom"] for r in above), min(r["box"]["top"] for r in below))
        first = min(below, key=lambda r: r["row"])
        self.assertGreaterEqual(first["box"]["bottom"], max(r["box"]["bottom"] for r in below))

    def test_labels_do_not_run_into_each_other(self):
        for name in PAGES:
            with self.subTest(name):
                self.assertEqual(self.open(name).evaluate(OVERLAPS), [])

    def test_narrow_windows_scroll_boxes_and_not_the_page(self):
        for name in PAGES:
            with self.subTest(name):
                page = self.open(name)
                page.call("Emulation.setDeviceMetricsOverride", width=480, height=900, deviceScaleFactor=1, mobile=False)
                self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 480)

    def test_stacks_open(self):
        page, data = self.memory()
        opened = page.evaluate(
            """(() => { const d = document.querySelector('td details'); const before = d.offsetHeight;
                        d.querySelector('summary').click();
                        return { grew: d.offsetHeight > before,
                                 lines: Array.from(d.querySelectorAll('li'), (li) => li.textContent) }; })()"""
        )
        self.assertTrue(opened["grew"])
        stack = data["stacks"][data["at_peak"][0]["stack"]]
        self.assertEqual(len(opened["lines"]), len(stack))
        for line, frame in zip(opened["lines"], stack):
            self.assertEqual(line, f"{frame['function']} at {frame['file']}:{frame['line']}")


if __name__ == "__main__":
    try:
        find_chromium()
    except BrowserError as error:
        sys.exit(f"browser tests: {error}")
    unittest.main()
