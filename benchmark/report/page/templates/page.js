// Sorting and filtering of "Every cell", by itables (DataTables); the page is whole without.
for (const form of document.querySelectorAll("form.filters")) {
  const scroll = form.nextElementSibling;
  const table = scroll.querySelector("table");
  const off = { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null };
  const cells = new ITable(table, { paging: false, info: false, autoWidth: false, order: [], layout: off }).dt;
  const output = form.querySelector("output");
  const said = () => (output.textContent = `${cells.rows({ search: "applied" }).count()} of ${cells.rows().count()} rows`);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if ("find" in target.dataset) cells.search(target.value);
    else cells.column(+target.dataset.column).search(target.value, { exact: target.value !== "" });
    cells.draw();
    said();
  });
  // A filter must not hide the cell that a link of the matrix leads to.
  document.addEventListener("click", ({ target }) => {
    const link = target.closest('a[href^="#cell-"]');
    if (!link || document.getElementById(link.hash.slice(1))) return;
    form.reset();
    cells.search("").columns().search("").draw();
    said();
  });
  said();
  form.hidden = false;
}
// Paper shows everything.
addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((each) => {
  each.dataset.closed = "";
  each.open = true;
}));
addEventListener("afterprint", () => document.querySelectorAll("details[data-closed]").forEach((each) => {
  each.open = false;
  delete each.dataset.closed;
}));
