// Filtering, what is shown, and the axis of the plots. Sorting is vendor/sortable.min.js.
{
  const root = document.documentElement;
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

  const filter = document.getElementById("filter");
  const narrow = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = all("tr[data-name]");
    for (const row of rows) {
      const name = row.dataset.name.toLowerCase();
      row.hidden = !words.every((word) => name.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    document.getElementById("filtered").textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  };
  filter.addEventListener("input", narrow);
  filter.form.addEventListener("submit", (event) => event.preventDefault());

  for (const name of ["all-numbers", "seed-values"]) {
    const box = document.getElementById(name);
    const show = () => root.classList.toggle(name, box.checked);
    box.addEventListener("change", show);
    show();
  }

  const choosers = all("select.axis");
  const choose = (axis) => {
    for (const chooser of choosers) chooser.value = axis;
    for (const figure of all("figure:has([data-axis])")) {
      const plots = all("[data-axis]", figure);
      const found = plots.find((plot) => plot.dataset.axis === axis) ?? plots.at(-1);
      for (const plot of plots) plot.classList.toggle("shown", plot === found);
    }
  };
  for (const chooser of choosers) chooser.addEventListener("change", () => choose(chooser.value));
  if (choosers.length) choose(choosers[0].value);

  window.addEventListener("beforeprint", () => {
    for (const each of all("details")) each.open = true;
  });
}
