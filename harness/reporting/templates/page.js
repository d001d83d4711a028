"use strict";
// One path sorts: clicks set the fragment (#sort=table:column or #sort=table:-column), and the fragment sorts.
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
function follow() {
  const wanted = decodeURIComponent(location.hash).match(/^#sort=([^:]+):(-?)(.+)$/);
  const table = wanted && document.getElementById("table-" + wanted[1]);
  if (!table) return;
  const i = [...table.tHead.rows[0].cells].findIndex(head => head.textContent.trim() === wanted[3]);
  if (i >= 0) sort(table, i, wanted[2] === "-");
}
document.querySelectorAll("table[id]").forEach(table => table.tHead.addEventListener("click", event => {
  const head = event.target.closest("th");
  if (!head) return;
  const fresh = head.getAttribute("aria-sort") === "none";
  const down = fresh ? head.classList.contains("number") && head.textContent.trim() !== "rank" : head.getAttribute("aria-sort") === "ascending";
  history.replaceState(null, "", "#sort=" + encodeURIComponent(table.id.slice(6) + ":" + (down ? "-" : "") + head.textContent.trim()));
  follow();
}));
document.querySelectorAll("input[data-filter]").forEach(input => input.addEventListener("input", () => {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean), rows = [...document.getElementById(input.dataset.filter).tBodies[0].rows];
  rows.forEach(row => { row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word)); });
  input.nextElementSibling.textContent = words.length ? rows.filter(row => !row.hidden).length + " of " + rows.length : "";
}));
addEventListener("hashchange", follow);
follow();
