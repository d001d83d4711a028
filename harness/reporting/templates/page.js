"use strict";
document.documentElement.classList.add("scripts");
const every = (query, root = document) => [...root.querySelectorAll(query)];

// Sorting has one path: clicks set the fragment (#sort=table:column or #sort=table:-column), and the fragment sorts.
const key = (row, i) => row.cells[i].dataset.sort;
function sort(table, i, down) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0], rows = [...body.rows];
  const numeric = rows.every(row => key(row, i) === "" || !Number.isNaN(Number(key(row, i))));
  rows.sort((a, b) => {
    const x = key(a, i), y = key(b, i);
    if (x === "" || y === "") return (x === "") - (y === "");  // no data comes last either way
    const order = numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true });
    return down ? -order : order;
  });
  body.append(...rows);
  heads.forEach((head, j) => head.setAttribute("aria-sort", j !== i ? "none" : down ? "descending" : "ascending"));
}
function reveal(element) {
  for (let fold = element.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
}
function follow() {
  let fragment = location.hash.slice(1);
  try { fragment = decodeURIComponent(fragment); } catch { /* a stray % is part of the name */ }
  const wanted = fragment.match(/^sort=([^:]+):(-?)(.+)$/);
  if (!wanted) {
    const target = fragment && document.getElementById(fragment);
    if (!target) return;
    reveal(target);
    target.scrollIntoView();
    choose(target);
    return;
  }
  const table = document.getElementById("table-" + wanted[1]);
  if (!table) return;
  reveal(table);
  const i = [...table.tHead.rows[0].cells].findIndex(head => head.textContent.trim() === wanted[3]);
  if (i >= 0) sort(table, i, wanted[2] === "-");
}
function turn(table, head) {
  const fresh = head.getAttribute("aria-sort") === "none";
  const down = fresh ? head.classList.contains("number") && head.textContent.trim() !== "rank" : head.getAttribute("aria-sort") === "ascending";
  history.replaceState(null, "", "#sort=" + encodeURIComponent(table.id.slice(6) + ":" + (down ? "-" : "") + head.textContent.trim()));
  follow();
}
// Heads are no <button>: Chromium leaves those out of the heads that it repeats on each printed page.
every("table[id]").forEach(table => {
  every(".head", table.tHead).forEach(head => { head.setAttribute("role", "button"); head.tabIndex = 0; });
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (head) turn(table, head);
  });
  table.tHead.addEventListener("keydown", event => {
    const head = event.target.closest("th");
    if (!head || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();  // a space would scroll
    turn(table, head);
  });
});
addEventListener("hashchange", follow);
every(".side a").forEach(link => link.addEventListener("click", () => {
  every(".menu").forEach(menu => { menu.open = false; });
  if (link.hash === location.hash) follow();  // a second click is no change of the fragment
}));

every(".menu").forEach(menu => menu.addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  menu.open = false;
  menu.firstElementChild.focus();
}));

// The search keeps the rows of arms and contrasts that have every word, and tells the charts (event "arms").
// It finds the names of sections, too. Enter goes to such a section, else to the first row that is left.
const find = document.getElementById("find"), found = document.getElementById("found");
const parts = every("details.part"), headings = every("main h2, main h3[id]");
const counted = (n, noun) => n + " " + noun + (n === 1 ? "" : "s");
const matches = words => element => words.every(word => element.textContent.toLowerCase().includes(word));
const asked = () => find.value.toLowerCase().split(/\s+/).filter(Boolean);
const named = words => !words.length ? undefined
  : headings.find(heading => heading.matches(".part > summary h2") && matches(words)(heading));
function keep(table, words) {
  const rows = [...table.tBodies[0].rows], kept = rows.filter(matches(words));
  rows.forEach(row => { row.hidden = !kept.includes(row); });
  let none = table.nextElementSibling;
  if (!none) {
    none = Object.assign(document.createElement("p"), { className: "soft", textContent: "No row matches." });
    table.after(none);
  }
  none.hidden = kept.length > 0 || !words.length;
  if (words.length && kept.length) reveal(table);
  return kept.length;
}
function search() {
  const words = asked(), kept = every("table[data-arms]").map(table => keep(table, words)).filter(Boolean);
  const shown = kept.reduce((sum, n) => sum + n, 0), section = named(words);
  const rows = !shown ? "no row matches" : counted(shown, "row") + (shown === 1 ? " matches, in " : " match, in ") + counted(kept.length, "table");
  found.textContent = !words.length ? "" : section ? "Enter: " + section.textContent + "; " + rows : rows;
  document.dispatchEvent(new CustomEvent("arms", { detail: { words } }));
}
function visit() {
  const words = asked();
  if (!words.length) return;
  const table = every("table[data-arms]").find(one => [...one.tBodies[0].rows].some(row => !row.hidden));
  const target = named(words) || (table && table.parentElement) || headings.find(matches(words));
  if (!target) return;
  reveal(target);
  target.scrollIntoView();
  choose(target);
}
if (find) {
  find.addEventListener("input", search);
  find.addEventListener("keydown", event => { if (event.key === "Enter") visit(); });
}

// The contents mark the section that is being read: the one that was asked for, until the reader moves on.
const links = every(".side a");
let chosen = null;
function choose(element) {
  chosen = element.closest("details.part");
  mark();
}
function mark() {
  const left = document.documentElement.scrollHeight - innerHeight - scrollY;  // to the end, where the line sinks
  const line = scrollY > 0 ? Math.max(innerHeight / 3, innerHeight - left) : innerHeight / 3;
  const here = chosen || parts.filter(part => part.getBoundingClientRect().top <= line).pop();
  links.forEach(link => {
    if (here && link.hash === "#" + here.id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
}
["wheel", "touchmove", "keydown", "pointerdown"].forEach(
  name => addEventListener(name, () => { chosen = null; }, { passive: true, capture: true }));
addEventListener("scroll", mark, { passive: true });
addEventListener("toggle", mark, true);

const unfold = document.getElementById("unfold");
if (unfold) unfold.addEventListener("click", () => {
  const open = parts.some(part => !part.open);
  parts.forEach(part => { part.open = open; });
  unfold.textContent = open ? "Close all" : "Open all";
});

// Paper has everything open; afterwards the page is as it was.
let closed = [];
addEventListener("beforeprint", () => {
  closed = every("main details:not([open])");
  closed.forEach(fold => { fold.open = true; });
});
addEventListener("afterprint", () => closed.forEach(fold => { fold.open = false; }));
follow();
mark();
