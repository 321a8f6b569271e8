"use strict";

OB.drawBook = (data) => {
  const plot = document.getElementById("book-plot");
  if (!plot || !data.book.length) return Promise.resolve();
  const place = document.getElementById("book-pickers");
  const state = { model: data.book[0].model, id: data.book[0].id, entry: null, step: null, input: null };
  const unique = (values) => [...new Set(values)];
  const nameOf = (name) => (data.models.find((model) => model.name === name) || { shown: name }).shown;
  const cutoffs = () => data.book.filter((entry) => entry.model === state.model && entry.id === state.id).sort((one, other) => other.cutoff - one.cutoff);

  const draw = () => {
    const entry = state.entry;
    const page = OB.openEntry(entry);
    const only = OB.inputPlace(entry, state.input); // entries order their inputs by weight, each its own
    const weights = page.byTime(only);
    const bars = state.step === null ? OB.meanRow(weights) : weights[state.step];
    const line = OB.actualsAt(data, entry, page.sources);
    const largest = weights.reduce((most, row) => row.reduce((top, value) => Math.max(top, value), most), 0);
    document.getElementById("book-words").textContent = OB.readingWords(data, entry, state.step);
    document.getElementById("book-caption").textContent = OB.bookCaption(entry, only, state.step);
    OB.ramp(document.getElementById("book-ramp"), data.weightScale, largest, OB.nowhere(entry, null) ? "what one step looked up" : undefined);
    OB.inputBars(document.getElementById("book-inputs"), entry, state.step === null ? OB.meanRow(page.byInput) : page.byInput[state.step]);
    return Plotly.react(plot, OB.bookTraces(data, entry, page, weights, bars, line), OB.bookLayout(data, entry, page, { step: state.step, only, bars }, line), OB.config);
  };

  const offer = () => OB.keepFocus(place, choices);

  const choices = () => {
    place.replaceChildren();
    const again = () => {
      offer();
      draw();
    };
    const models = unique(data.book.map((entry) => entry.model));
    if (models.length > 1) {
      OB.picker(place, "Model", models.map(nameOf), models.indexOf(state.model), (index) => {
        [state.model, state.input] = [models[index], null];
        again();
      });
    }
    const ids = unique(data.book.filter((entry) => entry.model === state.model).map((entry) => entry.id));
    if (!ids.includes(state.id)) state.id = ids[0];
    if (ids.length > 1) {
      OB.picker(place, "Series", ids, ids.indexOf(state.id), (index) => {
        state.id = ids[index];
        again();
      });
    }
    const entries = cutoffs();
    // By themselves, not by their label: an hour that happens twice in autumn has two forecasts of one label.
    if (!entries.includes(state.entry)) state.entry = entries.find((entry) => entry.cutoff === state.entry?.cutoff) ?? entries[0];
    if (entries.length > 1) {
      const say = (entry) => `${OB.stamp(entry.cutoff, data.clock)}${entry.tag ? ` (${entry.tag})` : ""}`;
      OB.picker(place, "Forecast made after", entries.map(say), entries.indexOf(state.entry), (index) => {
        state.entry = entries[index];
        again();
      });
    }
    const entry = state.entry;
    if (state.step !== null && state.step >= entry.targets.length) state.step = null;
    const steps = [`All ${OB.count(entry.targets.length, "step")} together`, ...entry.targets.map((target, h) => `${h + 1}: ${OB.stamp(target, data.clock)}`)];
    if (entry.targets.length > 1) OB.picker(place, "Step of the forecast", steps, state.step === null ? 0 : state.step + 1, (index) => {
      state.step = index === 0 ? null : index - 1;
      draw();
    });
    if (entry.cube && !entry.timeOnly && entry.features.length > 1) {
      const inputs = ["All inputs", ...entry.features];
      OB.picker(place, "Input", inputs, (OB.inputPlace(entry, state.input) ?? -1) + 1, (index) => {
        state.input = index === 0 ? null : entry.features[index - 1];
        draw();
      });
    }
  };

  offer();
  return draw().then(() => {
    plot.on("plotly_click", (event) => {
      const point = event.points[0];
      if (point.data.type !== "heatmap") return;
      state.step = state.step === point.y - 1 ? null : point.y - 1;
      offer();
      draw();
    });
  });
};

/** The colour scale as a strip from none to the largest weight of the map. */
OB.ramp = (place, scale, largest, of = "one step’s look-up") => {
  const strip = OB.element("i");
  strip.style.background = `linear-gradient(to right, ${scale.join(", ")})`;
  place.replaceChildren(OB.element("span", "0"), strip, OB.element("span", `${OB.percent(largest)} of ${of}`));
};

/** Paper is narrower than most screens: draw for it while printing. */
OB.preparePrint = () => {
  const resize = (width) => document.querySelectorAll(".plot").forEach((plot) => {
    if (plot.layout) Plotly.relayout(plot, width === null ? { autosize: true, width: null } : { width });
  });
  window.addEventListener("beforeprint", () => resize(660));
  window.addEventListener("afterprint", () => resize(null));
};

{
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const figures = [OB.drawForecasts(data), OB.drawSteps(data), OB.drawBook(data), OB.drawAverages(data)];
  OB.preparePrint();
  Promise.all(figures).then(() => {
    document.documentElement.dataset.ready = "yes";
  });
}
