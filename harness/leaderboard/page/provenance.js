// Where a number comes from: a dialog per cell and per trial. Everything becomes text nodes, nothing is parsed as HTML.
{
  const { trials, parts, rows, cells } = JSON.parse(document.getElementById("data").textContent);
  const dialog = document.getElementById("provenance");
  const body = dialog.querySelector(".body");

  const element = (tag, text = "", ...children) => {
    const made = document.createElement(tag);
    made.append(text, ...children);
    return made;
  };
  const facts = (pairs) => {
    const list = element("dl");
    list.className = "facts";
    for (const [name, value] of pairs) {
      if (value !== null && value !== undefined && value !== "") list.append(element("dt", name), element("dd", String(value)));
    }
    return list;
  };
  const table = (head, rows) => {
    const made = element("table", "", element("thead", "", element("tr", "", ...head.map((text) => element("th", text)))));
    made.append(element("tbody", "", ...rows.map((row) => element("tr", "", ...row.map((text) => element("td", text))))));
    const wide = element("div", "", made);
    wide.className = "wide";
    return wide;
  };
  const folded = (title, value) =>
    element("details", "", element("summary", title), element("pre", JSON.stringify(value, null, 1)));

  const pairs = (object) => Object.entries(object ?? {}).map((pair) => pair.join(" "));
  const commit = (git) => (git ? `${git.commit}${git.dirty ? " with uncommitted changes" : ""}` : "not from a checkout");
  const record = (trial) => {
    const made = element("section", "", element("h3", trial.label));
    const seconds = Object.entries(trial.timings ?? {}).map(([phase, time]) => `${phase} ${time.toFixed(1)} s`);
    const ran = trial.specification !== undefined;
    const specification = ran ? parts[trial.specification] : {};
    const { versions, ...settings } = specification;
    made.append(
      facts([
        ["trial", trial.identity],
        ["status", trial.status],
        ["seed", trial.seed],
        ["finished", trial.finished_at],
        ["time", seconds.join(", ")],
        ["parameters", trial.parameters?.toLocaleString("en")],
        ["commit", ran ? commit(parts[trial.git]) : ""],
        ["source digest", trial.source],
        ["not measured in training", (trial.unmeasured ?? []).join("; ")],
        ["machine", ran ? pairs(parts[trial.machine]).join(", ") : ""],
        ["versions", pairs(versions).join(", ")],
      ]),
    );
    if (ran) made.append(folded("resolved specification", { ...settings, seed: trial.seed }));
    return made;
  };

  const show = (title, ...content) => {
    document.getElementById("provenance-title").textContent = title;
    body.replaceChildren(...content);
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  const showCell = (cell) => {
    const [task, trainer, decoder] = rows[cell.row];
    const about = facts([
      ["task", task],
      ["trainer", trainer],
      ["decoder", decoder],
      ["mean", cell.mean],
      ["seed error", `±${cell.seed_error} (standard error of the mean over seeds)`],
      ["sample error", `±${cell.sample_error} (standard error of one trial's number over its test samples)`],
      ["test samples", cell.n],
      ["verdict", cell.verdict],
    ]);
    const name = (trial) => (trial === null ? "" : trials[trial].label);
    const values = cell.seeds.map(([seed, text, trial]) => [String(seed), text, name(trial)]);
    const used = cell.seeds.map(([, , trial]) => trial).filter((trial) => trial !== null);
    show(cell.metric, about, table(["seed", "value", "trial"], values), ...used.map((trial) => record(trials[trial])));
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-cell], [data-trial]");
    if (button?.dataset.cell) showCell(cells[button.dataset.cell]);
    else if (button) {
      const trial = trials[button.dataset.trial];
      show(`${trial.trainer} on ${trial.task}`, record(trial));
    } else if (event.target === dialog) dialog.close();
  });
}
