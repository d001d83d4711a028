"""The time that some charting libraries take in Chromium for charts of the size of a report's.

    npm install --prefix FOLDER chart.js@4.6.1 echarts@6.1.0 uplot@1.6.32 @observablehq/plot@0.6.17 d3@7.9.2
    python tests/benchmarks/charting.py FOLDER

Prints a row a library: its bytes, and milliseconds (the median of nine, after three) to load it, to draw 240
lines of 4 points, 240 lines of 100 points, and 1,000 points with intervals; then whether its text contains
eval or new Function. A dash: nothing in the file draws that.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from browser import opened

TRIES, WARM = 9, 3
FILES = {
    "Chart.js": ["chart.js/dist/chart.umd.min.js"],
    "ECharts, common": ["echarts/dist/echarts.common.min.js"],
    "ECharts, simple": ["echarts/dist/echarts.simple.min.js"],
    "uPlot": ["uplot/dist/uPlot.iife.min.js"],
    "Observable Plot": ["d3/dist/d3.min.js", "@observablehq/plot/dist/plot.umd.min.js"],
}
ECHARTS = """place => {
    const chart = echarts.init(place, null, {renderer: 'svg'});
    chart.setOption({animation: false, xAxis: {}, yAxis: {}, series: SERIES});
    return () => chart.dispose(); }"""
CHART_JS = """place => {
    const canvas = document.createElement('canvas'), options = {
        animation: false, parsing: false, normalized: true, maintainAspectRatio: false,
        plugins: {legend: {display: false}},
    };
    place.append(canvas);
    const chart = new Chart(canvas, {type: 'scatter', data: {datasets: DATASETS}, plugins: PLUGINS, options});
    return () => chart.destroy(); }"""
BARS = """[{id: 'bars', beforeDatasetsDraw({ctx, scales: {y}}) {
    points.forEach(({low, high}, k) => {
        const x = k;
        ctx.beginPath(); ctx.moveTo(x, y.getPixelForValue(low)); ctx.lineTo(x, y.getPixelForValue(high));
        ctx.stroke(); }); }}]"""
PLOT = """place => {
    const flat = lines.flatMap((line, z) => line.map(({x, y}) => ({x, y, z})));
    place.append(Plot.plot({width: 1080, height: 400, marks: [MARKS]}));
    return () => place.replaceChildren(); }"""
LINES = {
    "Chart.js": CHART_JS.replace("PLUGINS", "[]").replace(
        "DATASETS", "lines.map(data => ({data, showLine: true, pointRadius: 0}))"
    ),
    "ECharts": ECHARTS.replace(
        "SERIES", "lines.map(line => ({type: 'line', showSymbol: false, data: line.map(({x, y}) => [x, y])}))"
    ),
    "uPlot": """place => {
        const data = [lines[0].map(({x}) => x), ...lines.map(line => line.map(({y}) => y))];
        const chart = new uPlot({
            width: 1080, height: 400, legend: {show: false}, scales: {x: {time: false}},
            series: [{}, ...lines.map(() => ({stroke: '#123'}))],
        }, data, place);
        return () => chart.destroy(); }""",
    "Observable Plot": PLOT.replace("MARKS", "Plot.line(flat, {x: 'x', y: 'y', z: 'z'})"),
}
POINTS = {
    "Chart.js": CHART_JS.replace("DATASETS", "[{data: points}]").replace("PLUGINS", BARS),
    "Observable Plot": PLOT.replace(
        "MARKS", "Plot.ruleX(points, {x: 'x', y1: 'low', y2: 'high'}), Plot.dot(points, {x: 'x', y: 'y'})"
    ),
}
MEASURE = """
const done = arguments[arguments.length - 1], draw = eval(arguments[0]), times = [], tries = arguments[1];
const lines = window.lines, points = window.points, place = document.getElementById('place');
(async () => {
  for (let i = 0; i < tries; i++) {
    const start = performance.now(), clear = draw(place);
    place.getBoundingClientRect();
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - start);
    clear();
    place.replaceChildren();
  }
  done(times);
})().catch(error => done(String(error)));
"""
DATA = """
const count = arguments[0], range = (n, make) => Array.from({length: n}, (_, i) => make(i));
window.lines = range(240, i => range(count, x => ({x, y: Math.sin(i + x / count)})));
window.points = range(1000, x => ({x, y: Math.sin(x), low: Math.sin(x) - .1, high: Math.sin(x) + .1}));
"""


def row(name: str, files: list[Path]) -> list[str]:
    """Measure a library: the cells of its row."""
    sources = [file.read_text(encoding="utf-8") for file in files]
    text = "\n".join(sources)
    draws = name.split(",", maxsplit=1)[0]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        timed = "const start = performance.now();\n" + text + "\nwindow.loaded = performance.now() - start;"
        page.write_text(
            '<!doctype html><meta charset="utf-8"><div id="place" style="width:1080px;height:400px"></div>'
            f"<script>{timed}</script>", encoding="utf-8",
        )  # fmt: skip
        with opened(page, Path(folder) / "browser") as driver:
            loaded = float(driver.execute_script("return window.loaded"))
            cells = [f"{sum(file.stat().st_size for file in files):,}", f"{loaded:.0f}"]
            for length, code in ((4, LINES.get(draws)), (100, LINES.get(draws)), (4, POINTS.get(draws))):
                driver.execute_script(DATA, length)
                cells.append(median(driver, code) if code else "-")
    return [name, *cells, "yes" if "new Function" in text or "eval(" in text else "no"]


def median(driver: Any, code: str) -> str:
    """Draw again and again; give the milliseconds, as words."""
    times = driver.execute_async_script(MEASURE, f"({code})", TRIES + WARM)
    return f"{statistics.median(times[WARM:]):.0f}" if isinstance(times, list) else json.dumps(times)


def main() -> None:
    """Measure what is there."""
    folder = Path(sys.argv[1]) / "node_modules"
    titles = ["library", "bytes", "load", "240 x 4", "240 x 100", "1000 points", "eval"]
    print(" | ".join(titles))
    for name, files in FILES.items():
        print(" | ".join(row(name, [folder / file for file in files])))


if __name__ == "__main__":
    main()
