// The sample browser: chooses a generation and replays it action by action.
{
  const { trials, samples } = JSON.parse(document.getElementById("data").textContent);
  const section = document.getElementById("samples");
  if (section) {
    const axes = ["task", "trainer", "decoder", "seed"];
    const groups = samples.groups.map((group) => ({ ...group, ...trials[group.trial], decoder: group.decoder }));
    const get = (name) => section.querySelector(`#${name}`);
    const choosers = Object.fromEntries([...axes, "sample"].map((name) => [name, get(`choose-${name}`)]));
    const slider = get("step");
    let walk = null;

    // Every token that was written, in the order of writing, with the actions that wrote and erased it.
    const replay = (actions) => {
      const tokens = [];
      const visible = [];
      actions.forEach((text, step) => {
        if (text === null) tokens[visible.pop()].erased = step;
        else visible.push(tokens.push({ text, written: step, erased: Infinity }) - 1);
      });
      return tokens;
    };
    const quoted = (text) => `“${text.replaceAll("\n", "⏎")}”`;
    const describe = (step) => {
      const { actions, tokens, finish } = walk;
      if (!actions) return "These results hold no action texts: only the final text can be shown.";
      if (step === 0) return `Before the first of ${actions.length} actions.`;
      const last = step - 1;
      const place = `Action ${step} of ${actions.length}`;
      if (actions[last] === null) return `${place} erases ${quoted(tokens.find((token) => token.erased === last).text)}.`;
      if (step < actions.length) return `${place} writes ${quoted(actions[last])}.`;
      if (finish === "eos") return `${place} ends the text.`;
      return `${place} writes ${quoted(actions[last])}; the ${finish === "length" ? "length" : "number of actions"} is at its bound.`;
    };
    const draw = () => {
      const step = Number(slider.value);
      const shown = [];
      for (const { text, written, erased } of walk.tokens) {
        if (written >= step) break;
        const token = document.createElement(erased < step ? "del" : "span");
        token.textContent = text;
        if (erased === step - 1 || (written === step - 1 && text)) token.className = "now";
        shown.push(token);
      }
      const caret = document.createElement("span");
      caret.className = "caret";
      get("generation").replaceChildren(...shown, ...(step < slider.max ? [caret] : []));
      get("status").textContent = describe(step);
      get("first").disabled = get("back").disabled = step === 0;
      get("last").disabled = get("forward").disabled = step === Number(slider.max);
    };

    const fill = (chooser, values, wanted) => {
      chooser.replaceChildren(...values.map((value) => new Option(value, value)));
      if (values.map(String).includes(String(wanted))) chooser.value = wanted;
    };
    // Each chooser offers what the ones before it leave; a choice stays where it can.
    const choose = (wanted = {}) => {
      let left = groups;
      for (const name of axes) {
        const values = [...new Set(left.map((group) => group[name]))];
        fill(choosers[name], values, wanted[name] ?? choosers[name].value);
        left = left.filter((group) => String(group[name]) === choosers[name].value);
      }
      const numbers = left[0].samples.map((_, index) => index + 1);
      fill(choosers.sample, numbers, wanted.sample ?? choosers.sample.value);
      const [prompt, reference, actions, finish] = left[0].samples[choosers.sample.value - 1];
      const known = Array.isArray(actions);
      walk = {
        actions: known ? actions : null,
        tokens: known ? replay(actions) : [{ text: actions, written: -1, erased: Infinity }],
        finish,
      };
      get("prompt").textContent = samples.texts[prompt];
      get("reference").textContent = samples.texts[reference];
      get("chosen").textContent = [...axes, "sample"].map((name) => `${name} ${choosers[name].value}`).join(", ");
      slider.max = known ? actions.length : 0;
      slider.disabled = !known;
      slider.value = wanted.step ?? slider.max;
      draw();
    };
    const move = (step) => {
      slider.value = step;
      draw();
    };

    for (const chooser of Object.values(choosers)) chooser.addEventListener("change", () => choose());
    slider.addEventListener("input", draw);
    const steps = { first: () => 0, back: () => slider.value - 1, forward: () => +slider.value + 1, last: () => slider.max };
    for (const [name, target] of Object.entries(steps)) get(name).addEventListener("click", () => move(target()));
    section.addEventListener("keydown", (event) => {
      const target = { ArrowLeft: "back", ArrowRight: "forward", Home: "first", End: "last" }[event.key];
      if (!target || /^(SELECT|INPUT)$/.test(event.target.tagName)) return;
      event.preventDefault();
      move(steps[target]());
    });
    document.addEventListener("click", (event) => {
      const button = event.target.closest(".open");
      if (!button) return;
      const group = groups[button.dataset.group];
      choose({ ...group, sample: +button.dataset.sample + 1, step: button.dataset.step });
      section.scrollIntoView();
      slider.focus({ preventScroll: true });
    });
    choose();
  }
}
