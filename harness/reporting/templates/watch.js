"use strict";
/* Every text comes from names that anybody may have chosen: it is set as text, never as HTML. */
(() => {
  const EVERY = 1000;  // milliseconds between two questions
  const byId = id => document.getElementById(id);
  const shown = new Map();  // a section's key -> its JSON, to change only what has changed
  const charts = new Map();
  const FEW = 5;  // failures and notes that are shown unfolded
  const PATIENCE = 5000;  // milliseconds that a chart which somebody points at may be old
  let tag = "", lost = false, last = null, state = null;

  function made(name, text, kind) {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  }
  function put(node, text) {
    if (node.textContent !== text) node.textContent = text;
    node.hidden = !text;
  }
  /* Calls `draw` where what a key stands for has changed. */
  function changed(key, value, draw) {
    const text = JSON.stringify(value);
    if (shown.get(key) === text) return;
    shown.set(key, text);
    draw();
  }
  function table(columns, rows, numeric) {
    const node = made("table"), head = made("tr"), body = made("tbody");
    columns.forEach((column, i) => {
      const cell = made("th", column, numeric.includes(i) ? "number" : "");
      cell.scope = "col";
      head.append(cell);
    });
    for (const cells of rows) {
      const row = made("tr");
      cells.forEach((cell, i) => {
        const [text, small] = Array.isArray(cell) ? cell : [cell, ""];
        const node = made("td", text, numeric.includes(i) ? "number" : "");
        if (small) node.append(made("small", small));
        row.append(node);
      });
      body.append(row);
    }
    const top = made("thead");
    top.append(head);
    node.append(top, body);
    return node;
  }
  /* Returns a box of a phase by its name, made once; in it the rows may scroll by themselves. */
  function part(phase, name, tag = "div") {
    let node = phase.querySelector(`:scope > [data-part="${name}"]`);
    if (!node) {
      node = made(tag);
      node.dataset.part = name;
      phase.append(node);
    }
    return node;
  }
  function rows(box, title, drawn, left, what) {
    let frame = box.querySelector(":scope > .scroll, :scope > .tall");
    if (!frame) {
      frame = made("div");
      frame.tabIndex = 0;
      frame.setAttribute("role", "region");
      box.append(made("h3"), frame, made("p", "", "note"));
    }
    frame.className = drawn.rows.length > 24 ? "tall" : "scroll";
    frame.setAttribute("aria-label", title);
    put(box.querySelector("h3"), title);
    const top = frame.scrollTop, side = frame.scrollLeft;
    frame.replaceChildren(drawn);
    frame.scrollTop = top;
    frame.scrollLeft = side;
    put(box.querySelector("p"), left ? `${left} more ${what} are not shown here.` : "");
  }
  function armTables(phase, data) {
    const box = part(phase, "arms");
    changed(`${data.title}/arms`, data.arms, () => {
      data.arms.forEach((one, i) => {
        const cells = one.rows.map(row => [row.rank, row.arm, row.val, [row.done, row.now]]);
        const drawn = table(["rank", "arm", "val accuracy [95 % interval]", "trials done"], cells, [0]);
        const name = data.arms.length > 1 ? `Arms by val accuracy: ${one.dataset}` : "Arms by val accuracy, mean over the seeds that are done";
        rows(part(box, `arms-${i}`), name, drawn, one.left, "arms");
      });
    });
  }
  function suggestions(phase, data) {
    const one = data.suggestions, box = part(phase, "suggestions");
    changed(`${data.title}/suggestions`, one, () => {
      if (!one) return;
      const states = Object.entries(one.states).map(([state, count]) => `${count} ${state}`).join(", ");
      const drawn = table(one.columns, one.rows, [0, 1, 2]);
      rows(part(box, "best"), `Suggestions, best first${states ? ` (${states})` : ""}`, drawn, one.left, "suggestions");
    });
  }
  function drawings(phase, data) {
    const box = part(phase, "charts");
    box.className = "figures";
    data.charts.forEach((one, i) => {
      const key = `${data.title}/chart-${i}`;
      const figure = part(box, `chart-${i}`, "figure");
      if (charts.has(key) && Date.now() - charts.get(key).when < PATIENCE && figure.matches(":hover, :focus-within")) return;
      changed(key, one, () => {
        if (!charts.has(key)) {
          figure.append(made("h3"), made("div", undefined, "chart"));
          put(figure.querySelector("h3"), one.title);
          charts.set(key, { chart: harnessChart(figure.querySelector(".chart"), one.spec), when: Date.now() });
        } else {
          put(figure.querySelector("h3"), one.title);
          charts.get(key).chart.update(one.spec);
          charts.get(key).when = Date.now();
        }
      });
    });
    for (const figure of [...box.children].slice(data.charts.length)) {
      charts.delete(`${data.title}/${figure.dataset.part}`);
      shown.delete(`${data.title}/${figure.dataset.part}`);
      figure.remove();
    }
  }
  function list(items) {
    const node = made("ul");
    for (const item of items) node.append(made("li", item));
    return node;
  }
  function listed(phase, name, title, items, left) {
    const box = part(phase, name, "section");
    changed(`${phase.dataset.title}/${name}`, [title, items, left], () => {
      const open = box.querySelector("details")?.open ?? false;
      box.replaceChildren();
      box.hidden = !items.length;
      if (!items.length) return;
      box.append(made("h3", `${title}${name === "wrong" ? `: ${items.length + left}` : ""}`), list(items.slice(0, FEW)));
      if (items.length > FEW) {
        const more = made("details");
        more.open = open;
        more.append(made("summary", `${items.length - FEW} more`), list(items.slice(FEW)));
        if (left) more.append(made("p", `${left} more are not shown here.`, "note"));
        box.append(more);
      }
    });
    box.className = name;
  }
  function counted(data) {
    return Object.entries(data.counts).map(([status, count]) => `${count} ${status}`).join(", ");
  }
  function show(phase, data) {
    put(part(phase, "title", "h2"), data.title);
    put(part(phase, "counts", "p"), `${data.done} of ${data.planned} trials done: ${counted(data)}.`);
    const wrong = data.wrong.rows.map(row => `${row.arm}, seed ${row.seed}: ${row.status}${row.reason ? `: ${row.reason}` : ""}`);
    const failed = data.suggestions ? data.suggestions.failed : [];
    const told = data.suggestions === undefined ? wrong : failed;
    listed(phase, "wrong", "Failed or diverged", told, data.suggestions === undefined ? data.wrong.left : 0);
    if (data.suggestions !== undefined) suggestions(phase, data);
    else armTables(phase, data);
    drawings(phase, data);
    listed(phase, "notes", "Notes", data.notes, 0);
  }
  function report(state) {
    const line = byId("report");
    changed("report", [state.report, state.going], () => {
      line.replaceChildren();
      line.hidden = false;
      if (state.report.there) {
        const link = made("a", "report.html");
        link.href = "report.html";
        const when = state.going ? " (of an earlier run; drawn anew when this one is over, with --report or by the command below)" : state.report.older ? " (it is older than these results)" : "";
        line.append("The report: ", link, `${when}. `);
      }
      if (!state.report.there || state.report.older || state.going) {
        line.append(state.going && !state.report.there ? "When it is over, draw the report: " : "Draw the report: ", made("code", state.report.command));
      }
    });
  }
  function update() {
    document.title = `${state.going && state.phases.some(one => one.training) ? share(state) : state.status.kind}: ${state.name}`;
    put(byId("name"), state.name);
    put(byId("hypothesis"), state.hypothesis ? `Hypothesis. ${state.hypothesis}` : "");
    put(byId("folder"), `${state.folder}${state.began ? `, running since ${state.began}` : ""}`);
    put(byId("status"), [state.status.words, ...state.waits.map(title => `Still to come: ${title}.`)].join(" "));
    say();
    byId("now").dataset.kind = state.status.kind;
    const busy = state.phases.find(one => one.training);
    byId("bar").hidden = !busy;
    if (busy) byId("bar").value = busy.training.share;
    report(state);
    const box = byId("phases");
    for (const data of state.phases) {
      let phase = [...box.children].find(one => one.dataset.title === data.title);
      if (!phase) {
        phase = made("section", undefined, "phase");
        phase.dataset.title = data.title;
        box.append(phase);
      }
      show(phase, data);
    }
    for (const phase of [...box.children]) {
      if (state.phases.some(one => one.title === phase.dataset.title)) continue;
      for (const kept of [shown, charts]) for (const key of [...kept.keys()]) if (key.startsWith(`${phase.dataset.title}/`)) kept.delete(key);
      phase.remove();
    }
  }
  /* Tells those who listen to the page at each tenth of the way, and what went wrong, but not each second. */
  function say() {
    const busy = state.phases.find(one => one.training), wrong = state.phases.reduce((sum, one) => sum + one.wrong.rows.length + one.wrong.left, 0);
    const tenth = busy ? Math.floor(10 * busy.training.share) : 0;
    changed("said", [state.status.kind, busy?.title, tenth, wrong], () => {
      byId("said").textContent = `${state.status.words}${wrong ? ` ${wrong} failed or diverged.` : ""}`;
    });
  }
  function share(state) {
    return `${Math.floor(100 * state.phases.find(one => one.training).training.share)} %`;
  }
  async function ask() {
    try {
      const answer = await fetch("state", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 200) {
        state = await answer.json();
        tag = answer.headers.get("ETag") ?? "";
      } else if (answer.status !== 304) {
        throw new Error(`the server answers ${answer.status}`);
      }
      last = new Date();
      lost = false;
      put(byId("gone"), "");
    } catch (error) {
      if (!lost) put(byId("gone"), `\`harness watch\` cannot be reached any more: start it again, and this page goes on. It shows what was so at ${last ? last.toLocaleTimeString() : "no time yet"}.`);
      lost = true;
    }
    try {
      if (state && !lost) update();
    } catch (error) {
      put(byId("gone"), `The state cannot be shown: ${error}. Load the page again.`);
    }
    setTimeout(ask, lost ? 3 * EVERY : EVERY);
  }
  ask();
})();
