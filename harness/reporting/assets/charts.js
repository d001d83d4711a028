/* Charts of a page: harnessChart(element, spec) draws the spec of harness.reporting.charts with Chart.js. */
"use strict";
const harnessChart = (() => {
  // The palette of the figures, made for colour-blind readers; shapes tell points apart without colours.
  const COLORS = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"];
  const SHAPES = ["circle", "rect", "triangle", "rectRot", "star", "crossRot", "cross"];
  const FONT = "12px system-ui, sans-serif", INK = "#1c1e21", SOFT = "#5a6068", LINE = "#dfe2e6", MANY = "#7a8590";
  const NEAR = 40;  // pixels from the pointer within which something is meant
  const NARROW = 560;  // pixels of a chart with smaller margins
  const HOLLOW = ["diamond", "hollow"];  // marks that are an outline
  const STYLE = `
    .chart { position: relative; margin: .4em 0; }
    .chart button { font: inherit; font-size: .85rem; color: inherit; background: #fff; border: 1px solid ${LINE}; border-radius: 4px; padding: .15em .55em; margin: 0 .35em .35em 0; cursor: pointer; text-align: left; overflow-wrap: anywhere; }
    .chart button[aria-pressed=true] { border-color: ${INK}; background: #eef3f8; font-weight: 600; }
    .chart button:focus-visible, .chart .plot:focus-visible { outline: 2px solid #0173b2; outline-offset: 1px; }
    .chart .plot { position: relative; touch-action: pan-y pinch-zoom; }
    .chart .tall-plot { max-height: 78vh; overflow-y: auto; }
    .chart .tip { position: absolute; z-index: 2; max-width: min(26em, 75%); padding: .35em .6em; background: #fff; border: 1px solid ${SOFT}; border-radius: 4px; font-size: .85rem; line-height: 1.35; pointer-events: none; white-space: pre-line; overflow-wrap: anywhere; box-shadow: 0 1px 4px #0003; }
    .chart .box { position: absolute; z-index: 1; border: 1px solid #0173b2; background: #0173b222; pointer-events: none; }
    .chart .keys { display: flex; flex-wrap: wrap; max-height: 9.5em; overflow-y: auto; margin-top: .4em; }
    .chart .keys [aria-pressed=true] { order: -1; }
    .chart .keys svg { margin-right: .4em; vertical-align: -.1em; }
    .chart .said { font-size: .85rem; color: ${SOFT}; margin: .2em 0; min-height: 1.4em; max-width: none; }
    .chart :is([hidden], .away) { display: none; }
    @media screen { .charted > :is(.scroll, img) { display: none; } }
    @media print { .chart { display: none; } }`;
  const known = new Map();  // name -> place in the palette, the same in all charts of the page
  const picks = new Set(), explorers = new Set();
  let words = [];

  function style() {
    // A sheet made by script asks no permission of the page's policy on inline styles.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    document.addEventListener("arms", event => {
      words = [...(event.detail?.words ?? [])].map(word => word.toLowerCase());
      redraw();
    });
  }
  /* Give the names of a chart their colours before it is seen, so that they do not depend on scrolling. */
  function meet(spec) {
    if (!styled) { style(); styled = true; }
    for (const one of [spec, ...(spec.others ?? [])]) {
      const names = [...new Set(one.series.filter(series => series.color === undefined).map(series => series.name))];
      if (names.length <= COLORS.length) places(names);
    }
  }
  function redraw() {
    for (const one of explorers) {
      if (!one.element.isConnected) { explorers.delete(one); continue; }
      one.press();
      if (one.seen === false) one.stale = true; else one.emphasise();  // what is out of view is drawn when it is seen
    }
  }
  function pick(name) {
    if (!picks.delete(name)) picks.add(name);
    redraw();
  }
  function release() { picks.clear(); redraw(); }

  const made = (tag, className, text) => {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text ?? "";
    return node;
  };
  const button = (text, act) => {
    const node = made("button", "", text);
    node.type = "button";
    node.addEventListener("click", act);
    return node;
  };
  const same = (one, other) => one.length === other.length && one.every((value, i) => value === other[i]);
  const minus = text => text.replace("-", "\u2212");
  const plain = value => minus(String(Number(value.toPrecision(5))));
  function written(axis, value) {
    if (value === null || !Number.isFinite(value)) return "no value";
    if (axis.names?.length) return (axis.names[Math.round(value)] ?? "").replace("\n", ", ");
    if (axis.percent) return minus(String(Number((100 * value).toFixed(3)))) + "\u00a0%";
    if (axis.points) return (value > 0 ? "+" : "") + minus((100 * value).toFixed(2)) + " points";
    return plain(value);
  }
  function tick(axis, value) {
    if (axis.percent) return minus(String(Number((100 * value).toPrecision(6)))) + "\u00a0%";
    if (axis.points) return minus(String(Number((100 * value).toPrecision(6))));
    return plain(value);
  }
  function faded(color, alpha) {
    return color + Math.round(255 * alpha).toString(16).padStart(2, "0");
  }

  /* Places along an axis: factors on a logarithmic one, the error of an accuracy, or bent beyond some value. */
  const LEAST = 1e-4;  // 100 % lies at no finite place
  function place(axis, value) {
    if (value === null || value === undefined) return NaN;
    if (axis.log) return value > 0 ? Math.log10(value) : NaN;
    if (axis.error) return -Math.log10(Math.max(1 - value, LEAST));
    return axis.bend ? Math.asinh(value / axis.bend) : value;
  }
  function valueAt(axis, at) {
    if (axis.log) return 10 ** at;
    if (axis.error) return 1 - 10 ** -at;
    return axis.bend ? axis.bend * Math.sinh(at) : at;
  }
  const round = (value, steps) => {
    const ten = 10 ** Math.floor(Math.log10(Math.abs(value)));
    return steps.reduce((best, step) => Math.abs(step * ten - Math.abs(value)) < Math.abs(best * ten - Math.abs(value)) ? step : best) * ten * Math.sign(value);
  };
  /* Round values about evenly spaced over an axis that is not linear, with as few digits as tell them apart. */
  function ticksOf(axis, low, high, count) {
    const wanted = Array.from({ length: count }, (_, i) => valueAt(axis, low + (i + .5) * (high - low) / count));
    let found = [];
    for (const steps of [[1, 2, 5, 10], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10], Array.from({ length: 91 }, (_, i) => 1 + i / 10), Array.from({ length: 901 }, (_, i) => 1 + i / 100)]) {
      const nice = value => axis.error ? 1 - round(1 - value, steps) : value ? round(value, steps) : 0;
      const values = new Set([...wanted.map(nice), ...(axis.bend ? [0] : [])].map(value => Number(value.toPrecision(8))));
      found = [...values].map(value => ({ value: place(axis, value) })).filter(({ value }) => value >= low && value <= high);
      if (found.length > 3) break;
    }
    found.sort((a, b) => Math.abs(a.value) * Boolean(axis.bend) - Math.abs(b.value) * Boolean(axis.bend) || a.value - b.value);  // 0 first
    const apart = .55 * (high - low) / count;
    return found.reduce((kept, one) => kept.some(other => Math.abs(other.value - one.value) < apart) ? kept : [...kept, one], []);
  }

  /* Each name's place in the palette: that of the page, unless two of these names would share it. */
  function places(names) {
    names.forEach((name, i) => { if (!known.has(name)) known.set(name, i); });
    const own = new Map(names.map(name => [name, known.get(name)]));
    return new Set(own.values()).size === names.length ? own : new Map(names.map((name, i) => [name, i]));
  }

  /* Intervals, the band and the line at 0 lie below the points. */
  const below = {
    id: "below",
    beforeInit(chart, _, { explorer }) { explorer.chart = chart; },
    beforeDatasetsDraw(chart, _, { explorer }) {
      const { ctx, chartArea: area } = chart;
      ctx.save();
      ctx.beginPath();
      ctx.rect(area.left, area.top, area.width, area.height);
      ctx.clip();
      explorer.drawBelow(ctx);
      ctx.restore();
      ctx.save();
      explorer.drawBeside(ctx);
      ctx.restore();
    },
  };

  class Explorer {
    constructor(element, spec) {
      this.element = element;
      this.whole = spec;
      this.shown = 0;
      this.at = null;  // [series, point] that is told about
      this.build();
      this.load();
      explorers.add(this);
    }

    get spec() { return [this.whole, ...(this.whole.others ?? [])][this.shown]; }

    build() {
      this.views = made("div", "views");
      this.views.setAttribute("role", "group");
      this.views.setAttribute("aria-label", "What the chart shows");
      this.scroller = made("div", "");
      this.plot = made("div", "plot");
      this.canvas = made("canvas", "");
      this.canvas.setAttribute("aria-hidden", "true");
      this.tip = made("div", "tip");
      this.box = made("div", "box");
      this.tip.hidden = this.box.hidden = true;
      this.plot.append(this.canvas, this.tip, this.box);
      this.plot.tabIndex = 0;
      this.plot.setAttribute("role", "application");
      this.plot.setAttribute("aria-roledescription", "chart");
      this.said = made("p", "said");
      this.said.setAttribute("role", "status");
      this.tools = made("div", "tools");
      this.out = button("Whole range", () => this.zoom(null));
      this.free = button("Release all", release);
      const figure = this.element.closest("figure");
      this.swap = button("Picture", () => this.picture(figure));
      this.swap.hidden = !figure?.querySelector("img");
      this.swap.title = "Show the figure as it is on paper";
      this.tools.append(this.out, this.free, this.swap);
      this.keys = made("div", "keys");
      this.keys.setAttribute("role", "group");
      this.scroller.append(this.plot);
      this.element.replaceChildren(this.views, this.scroller, this.said, this.tools, this.keys);
      new IntersectionObserver(([entry]) => {
        this.seen = entry.isIntersecting;
        if (this.seen && this.stale) this.emphasise();
      }).observe(this.element);
      new ResizeObserver(() => {
        const wide = this.element.clientWidth;
        if (wide && this.narrow !== undefined && this.narrow !== wide < NARROW) this.load(this.spec.rows ? undefined : this.view);
      }).observe(this.element);
      this.plot.addEventListener("keydown", event => this.key(event));
      this.element.addEventListener("keydown", event => {
        if (event.key !== "Escape") return;
        release();
        this.tell(null);
        this.say("Nothing is picked.");
      });
      this.plot.addEventListener("focus", () => { if (this.plot.matches(":focus-visible")) this.say(HINT); });
      this.plot.addEventListener("blur", () => { this.tell(null); this.say(""); });
      this.plot.addEventListener("pointermove", event => this.move(event));
      this.plot.addEventListener("pointerdown", event => this.down(event));
      this.plot.addEventListener("pointerup", event => this.up(event));
      this.plot.addEventListener("pointercancel", () => { this.start = null; this.box.hidden = true; });
      this.plot.addEventListener("pointerleave", () => { if (!this.start) this.tell(null); });
    }

    /* Show the figure as it is on paper in the place of the chart, or the chart again. */
    picture(figure) {
      const chart = figure.classList.toggle("charted");
      this.swap.textContent = chart ? "Picture" : "Chart";
      for (const part of [this.views, this.scroller, this.said, this.keys, this.out, this.free]) part.classList.toggle("away", !chart);
    }

    /* Draw a new spec in the place of the old one; picks, the view, a zoom and the point told about stay. */
    update(spec) {
      const at = this.at;
      this.whole = spec;
      if (this.shown > (spec.others?.length ?? 0)) this.shown = 0;
      this.load(this.view);
      if (at && this.chart.getDatasetMeta(at[0])?.data[at[1]]) this.tell(at);
    }

    /* `view`: the first range, the whole one, or zoomed, which keeps the one that is there. */
    load(view = "first") {
      this.at = null;
      this.tip.hidden = true;
      for (const series of this.spec.series) series.x ??= this.spec.series[0].x;
      this.names = [...new Set(this.spec.series.map(series => series.name))];
      this.few = this.names.length <= COLORS.length;
      this.places = this.few ? places(this.names) : new Map();
      this.narrow = this.element.clientWidth < NARROW;
      this.view = view;
      if (view !== "zoomed") this.range = view === "first" ? this.first() : this.all();
      this.say("");
      this.chart?.destroy();
      const rows = this.spec.rows ? this.spec.x.names.length : 0;
      const height = rows ? ((this.narrow ? 52 : 30) + (this.spec.x.names.some(name => name.includes("\n")) ? this.narrow ? 15 : 6 : 0)) * rows + 76 : this.narrow ? 340 : 400;
      this.plot.style.height = height + "px";
      this.scroller.className = rows > 24 ? "tall-plot" : "";
      const count = `${this.names.length} ${this.names.length === 1 ? "name" : "names"}`;
      this.plot.setAttribute("aria-label", `${this.spec.title || "Chart"}: ${this.spec.y.label} by ${this.spec.x.label || "row"}, ${count}`);
      new Chart(this.canvas, {
        type: "scatter",
        data: { datasets: this.spec.series.map((series, i) => this.dataset(series, i)) },
        options: {
          animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true, events: [],
          scales: this.spec.rows ? { y: this.scale("x", true), x: this.scale("y", false) } : { x: this.scale("x", false), y: this.scale("y", true) },
          layout: { padding: { right: this.narrow || !this.spec.x.beside?.length ? 6 : 14 + this.widest(this.spec.x.beside) } },
          plugins: { legend: { display: false }, tooltip: { enabled: false }, below: { explorer: this } },
        },
        plugins: [below],
      });
      this.showViews();
      this.showKeys();
      this.emphasise();
      this.press();
    }

    dataset(series) {
      const { rows, x: across, y: upright } = this.spec;
      const data = series.x.map((value, k) => {
        const x = place(across, value), y = place(upright, series.y[k]);
        return rows ? { x: y, y: x } : { x, y };
      });
      const lines = this.spec.kind === "lines";
      return {
        data, showLine: lines || series.mark === "steps", stepped: series.mark === "steps", borderDash: series.dashed ? [6, 4] : [], borderJoinStyle: "round",
        pointStyle: SHAPES[this.shape(series)], pointHitRadius: 0, clip: lines ? undefined : 6,
      };
    }

    shape(series) {
      if (series.mark || this.spec.kind === "lines") return series.mark === "diamond" ? 3 : 0;
      return this.few ? this.places.get(series.name) % SHAPES.length : 0;
    }

    /* The places of all values, intervals too, with some room. */
    full(name) {
      const axis = this.spec[name];
      if (axis.names?.length) return [this.narrow ? -.75 : -.6, axis.names.length - .4];
      let low = Infinity, high = -Infinity;
      const widen = value => {
        const at = place(axis, value);
        if (Number.isNaN(at)) return;
        low = Math.min(low, at);
        high = Math.max(high, at);
      };
      for (const series of this.spec.series) {
        series[name].forEach(widen);
        if (name === "y") { series.low?.forEach(widen); series.high?.forEach(widen); }
      }
      if (name === "y") this.spec.band?.forEach(widen);
      if (low > high) return [0, 1];
      const room = .04 * (high - low) || Math.abs(high) * .05 || .5, least = name === "x" && low === 0 && this.spec.kind === "lines";
      const most = axis.percent && !axis.error && high <= 1 ? Math.min(high + room, 1 + room / 4) : high + room;
      return [least ? 0 : low - room, most];
    }

    all() { return { x: this.full("x"), y: this.full("y") }; }

    first() {
      const range = this.all();
      for (const name of ["x", "y"]) {
        const low = place(this.spec[name], this.spec[name].low);
        if (low > range[name][0] && low < range[name][1]) range[name][0] = low;
      }
      return range;
    }

    scale(name, upright) {
      const axis = this.spec[name], names = axis.names ?? [], { narrow } = this;
      const size = narrow ? 11 : 12;
      return {
        type: "linear", min: this.range[name][0], max: this.range[name][1],
        reverse: names.length > 0 && upright,
        title: { display: Boolean(axis.label), text: axis.label, color: INK, font: { size } },
        grid: { color: names.length ? "#0000" : LINE }, border: { color: LINE },
        afterBuildTicks: scale => {
          const count = upright ? 7 : narrow ? 4 : 8;
          if (axis.log || axis.error || axis.bend) scale.ticks = ticksOf(axis, scale.min, scale.max, count);
          if (names.length) scale.ticks = names.map((_, value) => ({ value })).filter(({ value }) => value >= scale.min && value <= scale.max);
        },
        afterFit: scale => {
          if (names.length && upright) scale.width = narrow ? 4 : Math.min(scale.width, .42 * this.element.clientWidth);
        },
        ticks: {
          color: INK, font: { size }, includeBounds: false, autoSkip: !names.length, maxRotation: 0,
          display: !(names.length && narrow),
          callback: value => names.length ? this.cut(names[value] ?? "") : tick(axis, valueAt(axis, value)),
        },
      };
    }

    /* A row's name on the axis; the tip has it in full. */
    cut(name) {
      const most = 52, lines = name.split("\n").map(line => line.length > most ? line.slice(0, most - 1) + "\u2026" : line);
      return lines.length > 1 ? lines : lines[0];
    }

    color(name, place) {
      if (place !== undefined) return COLORS[place];
      if (this.few) return COLORS[this.places.get(name)];
      const order = [...picks].filter(one => this.names.includes(one)).indexOf(name);
      return order >= 0 ? COLORS[order % COLORS.length] : MANY;
    }

    /* 2: picked; 1: shown as usual; 0: in the background; -1: filtered away. */
    strength(name) {
      const wanted = one => words.every(word => one.toLowerCase().includes(word));
      if (words.length && this.names.some(wanted) && !wanted(name)) return -1;
      if (picks.has(name)) return 2;
      return this.names.some(one => picks.has(one)) ? 0 : 1;
    }

    emphasise() {
      this.stale = false;
      const lines = this.spec.kind === "lines", hovered = this.at && this.spec.series[this.at[0]].name;
      this.spec.series.forEach((series, i) => {
        const dataset = this.chart.data.datasets[i], force = this.strength(series.name);
        const lit = series.name === hovered && this.names.length > 1;
        const color = lit && !this.few && force < 2 ? INK : this.color(series.name, series.color);
        const alpha = lit || force === 2 ? 1 : force === 0 ? .12 : this.few ? .9 : .4;
        const width = (force === 2 || lit ? 2.6 : this.few ? 1.8 : 1);
        const dots = series.mark || series.x.length < 2 || (lit || force === 2) && series.x.length < 30;
        const size = series.mark === "hollow" && lines ? 7 : lines ? (dots ? 3 : 0) : force === 2 || lit ? 5 : 4;
        // Of many arms the train lines would be a thicket: those of arms that are meant are shown.
        dataset.hidden = force < 0 || series.dashed && !this.few && force < 2 && !lit;
        dataset.borderColor = faded(color, alpha);
        dataset.backgroundColor = HOLLOW.includes(series.mark) ? "#fff" : faded(color, series.mark === "tick" ? alpha : Math.min(alpha, .75));
        dataset.borderWidth = lines || series.mark === "steps" ? width : HOLLOW.includes(series.mark) ? 1.8 : 1;
        dataset.pointRadius = ["tick", "steps"].includes(series.mark) ? 0 : size;
        dataset.pointHoverRadius = dataset.pointRadius;
        dataset.order = lit ? -2 : -force / 10;
      });
      this.chart.update("none");
    }

    /* Say by the buttons what is picked, left out by a search, and zoomed. */
    press() {
      for (const key of this.keys.children) {
        key.setAttribute("aria-pressed", String(picks.has(key.dataset.name)));
        key.hidden = this.strength(key.dataset.name) < 0;
        key.querySelector("svg").replaceWith(this.sign(key.dataset.name));
      }
      this.free.hidden = !this.names.some(name => picks.has(name));
      const near = (a, b) => Math.abs(a - b) <= 1e-9 * Math.abs(a) + 1e-12;
      this.out.hidden = ["x", "y"].every(name => this.full(name).every((end, k) => near(end, this.range[name][k])));
    }

    widest(texts) {
      const ctx = this.canvas.getContext("2d");
      ctx.font = FONT;
      return Math.min(260, Math.max(...texts.map(text => ctx.measureText(text).width)));
    }

    /* The words at the right of each row; on a narrow screen above it, with the row's name. */
    drawBeside(ctx) {
      const { chartArea: area, scales } = this.chart, { names, beside } = this.spec.x;
      if (!this.spec.rows) return;
      ctx.font = FONT;
      ctx.textBaseline = "middle";
      const cut = (text, room) => {
        let most = text.length;
        while (most > 1 && ctx.measureText(text.slice(0, most)).width > room) most--;
        return most < text.length ? text.slice(0, most - 1) + "\u2026" : text;
      };
      names.forEach((name, row) => {
        const y = scales.y.getPixelForValue(row), words = beside?.[row] ?? "", top = name.split("\n").length - 1;
        if (y < area.top || y > area.bottom) return;
        ctx.fillStyle = SOFT;
        ctx.textAlign = this.narrow ? "right" : "left";
        if (words) ctx.fillText(words, area.right + (this.narrow ? 0 : 8), y - (this.narrow ? 20 + 15 * top : 0));
        if (!this.narrow) return;
        ctx.fillStyle = INK;
        ctx.textAlign = "left";
        name.split("\n").reverse().forEach((line, i) => {
          const room = area.width - 10 - (i < top ? 0 : ctx.measureText(words).width);
          ctx.fillText(cut(line, room), area.left + 2, y - 20 - 15 * i);
        });
      });
    }

    drawBelow(ctx) {
      const { rows, band, kind, y } = this.spec, chart = this.chart, area = chart.chartArea;
      const along = rows ? chart.scales.x : chart.scales.y;
      const pixel = value => along.getPixelForValue(y.log && value <= 0 ? along.min : place(y, value));
      if (band) {
        const [a, b] = band.map(pixel);
        ctx.fillStyle = "#e9ebee";
        if (rows) ctx.fillRect(a, area.top, b - a, area.height); else ctx.fillRect(area.left, b, area.width, a - b);
      }
      if (!y.log && y.points) {
        ctx.strokeStyle = SOFT;
        ctx.lineWidth = 1;
        ctx.beginPath();
        if (rows) { ctx.moveTo(pixel(0), area.top); ctx.lineTo(pixel(0), area.bottom); } else { ctx.moveTo(area.left, pixel(0)); ctx.lineTo(area.right, pixel(0)); }
        ctx.stroke();
      }
      this.spec.series.forEach((series, i) => {
        if (chart.data.datasets[i].hidden || !series.low?.length && series.mark !== "tick") return;
        const meta = chart.getDatasetMeta(i).data;
        if (kind === "lines" && !series.mark) this.ribbon(ctx, series, meta, pixel); else this.bars(ctx, series, meta, pixel, i);
      });
    }

    bars(ctx, series, meta, pixel, i) {
      const color = chart => chart.data.datasets[i].borderColor, { rows } = this.spec, wide = series.mark === "tick";
      const force = this.strength(series.name);
      ctx.strokeStyle = color(this.chart);
      meta.forEach((point, k) => {
        if (point.skip) return;
        const a = series.low?.[k], b = series.high?.[k];
        const line = (u, v, across, width, alpha) => {
          ctx.lineWidth = width;
          ctx.globalAlpha = alpha;
          ctx.beginPath();
          if (rows) { ctx.moveTo(u, point.y - across); ctx.lineTo(v, point.y + across); } else { ctx.moveTo(point.x - across, u); ctx.lineTo(point.x + across, v); }
          ctx.stroke();
        };
        if (Number.isFinite(a) && Number.isFinite(b)) line(pixel(a), pixel(b), 0, wide ? 6 : force === 2 ? 2.6 : 1.8, wide ? .35 : 1);
        if (wide) { const middle = rows ? point.x : point.y; line(middle, middle, rows ? 7 : 6, 2.5, 1); }
      });
      ctx.globalAlpha = 1;
    }

    /* The range of a line's trials; of many lines only that of the ones picked or pointed at. */
    ribbon(ctx, series, meta, pixel) {
      const force = this.strength(series.name), lit = this.at && this.spec.series[this.at[0]] === series;
      if (series.dashed && !lit || force === 0 && !lit || !this.few && force < 2 && !lit) return;
      const ends = meta.map((point, k) => [point.x, series.low[k], series.high[k]]).filter(([x, a, b]) => Number.isFinite(x) && Number.isFinite(a) && Number.isFinite(b));
      ctx.fillStyle = faded(lit && !this.few && force < 2 ? INK : this.color(series.name, series.color), lit || force === 2 ? .2 : .1);
      ctx.beginPath();
      ends.forEach(([x, a]) => ctx.lineTo(x, pixel(a)));
      ends.reverse().forEach(([x, , b]) => ctx.lineTo(x, pixel(b)));
      ctx.fill();
    }

    showViews() {
      const all = [this.whole, ...(this.whole.others ?? [])], titles = all.map(one => one.title || one.y.label);
      this.views.hidden = all.length < 2;
      if (same([...this.views.children].map(node => node.textContent), titles)) return this.pressViews();
      this.views.replaceChildren(...titles.map((title, i) => button(title, () => { this.shown = i; this.load(); })));
      this.pressViews();
    }

    pressViews() {
      [...this.views.children].forEach((node, i) => node.setAttribute("aria-pressed", String(i === this.shown)));
    }

    /* Buttons stay as long as their names do: one of them may have the keyboard. */
    showKeys() {
      const alone = this.spec.rows || this.names.length < 2, names = alone ? [] : this.names;
      this.keys.hidden = alone;
      this.keys.setAttribute("aria-label", "Names: press to pick, again to release");
      if (same([...this.keys.children].map(node => node.dataset.name), names)) return;
      this.keys.replaceChildren(...names.map(name => {
        const node = button("", () => pick(name));
        node.dataset.name = name;
        node.append(this.sign(name), name);
        return node;
      }));
    }

    /* A legend's small picture: a line or a point in the series' colour. */
    sign(name) {
      const series = this.spec.series.find(one => one.name === name), color = this.color(name, series.color);
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const part = (tag, given) => {
        const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
        for (const [key, value] of Object.entries(given)) node.setAttribute(key, value);
        svg.append(node);
      };
      for (const [key, value] of Object.entries({ width: 16, height: 10, viewBox: "0 0 16 10", "aria-hidden": "true" })) svg.setAttribute(key, value);
      if (this.spec.kind === "lines") part("path", { d: "M0 5H16", stroke: color, "stroke-width": 3 });
      else part(...[
        ["circle", { cx: 8, cy: 5, r: 4, fill: color }], ["rect", { x: 4, y: 1, width: 8, height: 8, fill: color }],
        ["path", { d: "M8 1L13 9H3Z", fill: color }], ["path", { d: "M8 0L13 5L8 10L3 5Z", fill: color }],
        ["path", { d: "M8 0V10M3 5H13M4 1L12 9M12 1L4 9", stroke: color }], ["path", { d: "M4 1L12 9M12 1L4 9", stroke: color, "stroke-width": 2 }],
        ["path", { d: "M8 0V10M3 5H13", stroke: color, "stroke-width": 2 }],
      ][this.shape(series)]);
      return svg;
    }

    /* The series and point that a place means: a line by its height there, a cloud's nearest point. */
    nearest(x, y) {
      let best = null, least = NEAR;
      const picked = this.names.some(name => picks.has(name));
      this.spec.series.forEach((series, i) => {
        if (this.chart.data.datasets[i].hidden || picked && !picks.has(series.name)) return;
        const points = this.chart.getDatasetMeta(i).data;
        points.forEach((point, k) => {
          if (point.skip) return;
          let far = Math.hypot(point.x - x, point.y - y);
          const next = points[k + 1];
          if (this.spec.kind === "lines" && next && !next.skip && point.x <= x && x <= next.x && next.x > point.x) {
            const share = (x - point.x) / (next.x - point.x), height = Math.abs(point.y + share * (next.y - point.y) - y);
            if (height < least) { least = height; best = [i, share < .5 ? k : k + 1]; }
          }
          if (this.spec.kind === "lines") far += 1;
          if (far < least) { least = far; best = [i, k]; }
        });
      });
      return best;
    }

    place(event) {
      const frame = this.canvas.getBoundingClientRect();
      return [event.clientX - frame.left, event.clientY - frame.top];
    }

    inside(x, y) {
      const area = this.chart.chartArea;
      return x >= area.left - 8 && x <= area.right + 8 && y >= area.top - 8 && y <= area.bottom + 8;
    }

    move(event) {
      const [x, y] = this.place(event);
      if (this.start && event.pointerType === "mouse") {
        const [a, b] = this.start, wide = Math.abs(x - a), tall = Math.abs(y - b);
        this.box.hidden = wide < 6 && tall < 6;
        Object.assign(this.box.style, { left: Math.min(x, a) + "px", top: Math.min(y, b) + "px", width: wide + "px", height: tall + "px" });
        if (!this.box.hidden) return this.tell(null);
      }
      this.tell(this.inside(x, y) ? this.nearest(x, y) : null);
    }

    down(event) {
      if (event.button) return;
      this.start = this.place(event);
      if (event.pointerType === "mouse") this.plot.setPointerCapture(event.pointerId);
    }

    up(event) {
      const [x, y] = this.place(event), start = this.start;
      this.start = null;
      if (!start) return;
      if (!this.box.hidden) {
        this.box.hidden = true;
        this.frame(start, [x, y]);
      } else if (this.inside(x, y)) {
        const at = this.nearest(x, y);
        this.tell(at);
        if (at) this.pickAt(at);
      } else if (this.spec.rows && x < this.chart.chartArea.left) {
        this.pickRow(Math.round(this.chart.scales.y.getValueForPixel(y)));
      }
    }

    pickAt([i]) { if (this.names.length > 1) pick(this.spec.series[i].name); }

    pickRow(row) {
      const name = this.spec.x.names[row];
      if (this.names.includes(name)) pick(name);
    }

    frame([a, b], [x, y]) {
      const ends = (scale, u, v) => [scale.getValueForPixel(u), scale.getValueForPixel(v)].sort((one, other) => one - other);
      const across = ends(this.chart.scales.x, a, x), upright = ends(this.chart.scales.y, b, y);
      this.zoom(this.spec.rows ? { x: upright, y: across } : { x: across, y: upright });
    }

    zoom(range) {
      this.range = range ?? this.all();
      this.view = range ? "zoomed" : "whole";
      const scales = this.chart.options.scales, [across, upright] = this.spec.rows ? ["y", "x"] : ["x", "y"];
      [scales.x.min, scales.x.max] = this.range[across];
      [scales.y.min, scales.y.max] = this.range[upright];
      this.tell(null);
      this.emphasise();
      this.press();
    }

    /* Zoom about the point that is told about, or the middle. */
    closer(factor) {
      const range = {};
      for (const name of ["x", "y"]) {
        const [low, high] = this.range[name], series = this.at && this.spec.series[this.at[0]];
        const middle = series ? place(this.spec[name], series[name][this.at[1]]) : (low + high) / 2, half = (high - low) / 2 * factor;
        range[name] = [middle - half, middle + half];
      }
      const at = this.at;
      this.zoom(range);
      this.tell(at);
    }

    /* The text on a point: its name, its trial, its values. */
    words([i, k]) {
      const { x, y } = this.spec, series = this.spec.series[i];
      const label = series.labels.length > 1 ? series.labels[k] : series.labels[0];
      const lines = [series.name, label];
      if (!x.names?.length) lines.push(`${x.label} ${written(x, series.x[k])}`);
      else if (written(x, series.x[k]) !== series.name) lines.unshift(written(x, series.x[k]));
      lines.push(`${y.label} ${written(y, series.y[k])}`);
      if (typeof series.low?.[k] === "number" && typeof series.high?.[k] === "number") {
        lines.push(`${series.span ?? "interval"} ${written(y, series.low[k])} to ${written(y, series.high[k])}`);
      }
      return lines.filter(Boolean).join("\n");
    }

    tell(at) {
      if (at === this.at || at && this.at && same(at, this.at)) return;
      const before = this.at && this.spec.series[this.at[0]].name, now = at && this.spec.series[at[0]].name;
      this.at = at;
      if (before !== now || this.spec.kind === "lines") this.emphasise();
      this.tip.hidden = !at;
      if (!at) return;
      const point = this.chart.getDatasetMeta(at[0]).data[at[1]];
      this.tip.textContent = this.words(at);
      this.tip.style.left = this.tip.style.top = "0";
      const wide = this.tip.offsetWidth, tall = this.tip.offsetHeight, room = this.plot.clientWidth;
      const left = point.x + 14 + wide <= room ? point.x + 14 : Math.max(0, point.x - 14 - wide);
      const top = Math.max(0, Math.min(point.y - tall / 2, this.plot.clientHeight - tall));
      Object.assign(this.tip.style, { left: left + "px", top: top + "px" });
    }

    say(text) { this.said.textContent = text || (this.spec.note ?? ""); }

    key(event) {
      const act = {
        ArrowRight: () => this.walk(1), ArrowLeft: () => this.walk(-1),
        ArrowDown: () => this.step(1), ArrowUp: () => this.step(-1),
        Home: () => this.walk(-Infinity), End: () => this.walk(Infinity),
        Enter: () => this.at && this.pickAt(this.at), " ": () => this.at && this.pickAt(this.at),
        "+": () => this.closer(.5), "-": () => this.closer(2), 0: () => this.zoom(null),
      }[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
      if (this.at) this.say(this.words(this.at).replaceAll("\n", ", ") + (picks.has(this.spec.series[this.at[0]].name) ? ", picked" : "") + ".");
    }

    /* To the next point of the series that has a value. */
    walk(by) {
      if (!this.at) return this.step(1);
      const [i, k] = this.at, points = this.chart.getDatasetMeta(i).data;
      const there = points.map((point, place) => point.skip ? -1 : place).filter(place => place >= 0);
      const next = Math.max(0, Math.min(there.length - 1, there.indexOf(k) + by));
      this.tell([i, there[next]]);
    }

    /* To the next series that is shown, to its point of the nearest x. */
    step(by) {
      const shown = this.spec.series.map((_, i) => i).filter(i => !this.chart.data.datasets[i].hidden && this.chart.getDatasetMeta(i).data.some(point => !point.skip));
      if (!shown.length) return;
      const place = this.at ? (shown.indexOf(this.at[0]) + by + shown.length) % shown.length : 0, i = shown[place];
      const points = this.chart.getDatasetMeta(i).data, x = this.at ? this.spec.series[this.at[0]].x[this.at[1]] : -Infinity;
      let best = -1;
      points.forEach((point, k) => {
        const far = one => Math.abs(this.spec.series[i].x[one] - x);
        if (!point.skip && (best < 0 || far(k) < far(best))) best = k;
      });
      this.tell([i, best]);
    }
  }
  const HINT = "Arrow keys walk through points and names; Enter picks a name, Escape releases all; + and \u2212 zoom, 0 shows the whole range.";

  let styled = false;
  const draw = (element, spec) => {
    meet(spec);
    const explorer = new Explorer(element, spec);
    element.closest("figure")?.classList.add("charted");
    element.explorer = explorer;
    return explorer;
  };
  draw.meet = meet;
  return draw;
})();
// A page names each chart's numbers beside its place; charts are made when they come into view.
document.querySelectorAll(".chart > script[type='application/json']").forEach(data => {
  const element = data.parentElement, spec = JSON.parse(data.textContent), figure = element.closest("figure");
  harnessChart.meet(spec);
  figure?.classList.add("charted");
  element.style.minHeight = "300px";
  new IntersectionObserver((entries, observer) => {
    if (!entries.some(entry => entry.isIntersecting)) return;
    observer.disconnect();
    element.style.minHeight = "";
    try {
      harnessChart(element, spec);
    } catch (error) {
      figure?.classList.remove("charted");  // the picture is there
      element.hidden = true;
      throw error;
    }
  }, { rootMargin: "300px" }).observe(element);
});
