"use strict";

/** The stretch of one series to draw: stamps, actuals, and per model point, low and high; `origin` null means all. */
OB.stretch = (series, models, origin) => {
  const [origins, h] = series.place.shape;
  const place = OB.unpack(series.place);
  const stamps = OB.unpack(series.stamps);
  const actual = OB.unpack(series.actual);
  const rows = origin === null ? [...Array(origins).keys()] : [origin];
  const cells = [];
  for (const row of rows) for (let step = 0; step < h; step += 1) if (place[row * h + step] >= 0) cells.push(row * h + step);
  const first = Math.max(0, cells.reduce((least, cell) => Math.min(least, place[cell]), Infinity) - (origin === null ? 0 : 2 * h));
  const last = cells.reduce((most, cell) => Math.max(most, place[cell]), 0);
  const lay = (packed) => {
    const values = OB.unpack(packed);
    const line = Array(last - first + 1).fill(null);
    // Later origins write over earlier ones: every stamp shows the freshest forecast made for it.
    for (const cell of cells) if (!Number.isNaN(values[cell])) line[place[cell] - first] = values[cell];
    return line;
  };
  const lines = {};
  for (const model of models) {
    if (!series.point[model.name]) continue;
    const band = series.low[model.name] ? { low: lay(series.low[model.name]), high: lay(series.high[model.name]) } : {};
    lines[model.name] = { point: lay(series.point[model.name]), ...band };
  }
  const known = Array.from(actual.slice(first, last + 1), (value) => (Number.isNaN(value) ? null : value));
  const drawn = { stamps: Array.from(stamps.slice(first, last + 1)), actual: known, lines };
  drawn.overlap = new Set(cells.map((cell) => place[cell])).size < cells.length;
  // No line is drawn across time that no window tested: a stamp without values stands in every gap, the last gap first.
  for (const gap of [...series.gaps].reverse()) {
    const at = gap - first;
    if (at <= 0 || at > last - first) continue;
    drawn.stamps.splice(at, 0, (drawn.stamps[at - 1] + drawn.stamps[at]) / 2);
    const parts = Object.values(lines).flatMap((line) => Object.values(line));
    for (const values of [drawn.actual, ...parts]) values.splice(at, 0, null);
  }
  return drawn;
};

/** The outline of a band, one closed shape for every stretch without a gap. */
OB.outline = (stamps, low, high) => {
  const [x, y] = [[], []];
  let begin = 0;
  for (let end = 0; end <= stamps.length; end += 1) {
    if (end < stamps.length && low[end] !== null && high[end] !== null) continue;
    if (end > begin) {
      // One by one: a call takes some hundred thousand arguments at most.
      for (let i = begin; i < end; i += 1) { x.push(stamps[i]); y.push(low[i]); }
      for (let i = end - 1; i >= begin; i -= 1) { x.push(stamps[i]); y.push(high[i]); }
      x.push(null);
      y.push(null);
    }
    begin = end + 1;
  }
  return { x, y };
};

/** Bands of stamps without a neighbour, which have no area: upright bars. */
OB.uprights = (stamps, low, high) => {
  const none = (i) => !(i >= 0 && i < stamps.length && low[i] !== null && high[i] !== null);
  const alone = stamps.map((_, i) => i).filter((i) => !none(i) && none(i - 1) && none(i + 1));
  return { x: alone.flatMap((i) => [stamps[i], stamps[i], null]), y: alone.flatMap((i) => [low[i], high[i], null]) };
};

/** Mean absolute error over the stamps where both are known; null where there are none. */
OB.meanError = (actual, point) => {
  let [sum, count] = [0, 0];
  actual.forEach((value, index) => {
    if (value === null || point[index] === null) return;
    sum += Math.abs(value - point[index]);
    count += 1;
  });
  return count ? sum / count : null;
};

OB.timeAxis = (clock, stamps) => {
  if (clock.unit === "step") {
    const few = stamps.at(-1) - stamps[0] <= 8 * clock.multiple; // no ticks between two stamps
    return { ...OB.axis, tickformat: "d", ...(few ? { dtick: clock.multiple, tick0: stamps[0] } : { nticks: OB.narrow() ? 4 : 9 }) };
  }
  const digits = OB.digitsOf[clock.unit];
  const hover = OB.fine(clock) ? `%a %-d %b %H:%M${digits === undefined ? "" : `:%S${digits ? `.%${digits}f` : ""}`}` : OB.months[clock.unit] ? "%b %Y" : "%a %-d %b %Y";
  return {
    ...OB.axis,
    type: "date",
    hoverformat: hover,
    nticks: OB.narrow() ? 5 : 9,
    tickformatstops: [
      { dtickrange: [null, 0.999], value: "%H:%M:%S.%6f\n%a %-d %b" },
      { dtickrange: [1, 999], value: "%H:%M:%S.%3f\n%a %-d %b" },
      { dtickrange: [1000, 59999], value: "%H:%M:%S\n%a %-d %b" },
      { dtickrange: [60000, 86399999], value: "%H:%M\n%a %-d %b" },
      { dtickrange: [86400000, "M1"], value: "%a %-d %b" },
      { dtickrange: ["M1", "M12"], value: "%b %Y" },
      { dtickrange: ["M12", null], value: "%Y" },
    ],
  };
};

OB.faint = (color) => {
  const part = (start) => parseInt(color.slice(start, start + 2), 16);
  return `rgba(${part(1)},${part(3)},${part(5)},0.15)`;
};

/** Lines, with dots where a value has no neighbour to draw a line to. */
OB.mode = (values) => {
  const none = (value) => value === null || value === undefined;
  return values.some((value, i) => !none(value) && none(values[i - 1]) && none(values[i + 1])) ? "lines+markers" : "lines";
};

/** How hovered values are written: so fine that lines which differ by their usual error are told apart. */
OB.hoverFormat = (drawn, models) => {
  const size = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value || 0)), 0);
  const points = models.map((model) => drawn.lines[model.name].point);
  const level = Math.max(size(drawn.actual), ...points.map(size));
  const errors = points.map((point) => OB.meanError(drawn.actual, point)).filter((error) => error);
  const fine = errors.length ? OB.digits(Math.min(...errors)) - 1 : 0;
  return OB.tiny(level) ? ".2e" : `,.${Math.max(OB.digits(level), fine)}f`;
};

OB.forecastTraces = (data, drawn, shown, banded) => {
  const traces = [];
  const x = drawn.stamps;
  const order = data.models.filter((model) => shown.has(model.name) && drawn.lines[model.name]).reverse();
  if (banded && shown.has(banded.name) && drawn.lines[banded.name] && drawn.lines[banded.name].low) {
    const { low, high } = drawn.lines[banded.name];
    const quiet = { mode: "lines", hoverinfo: "skip" };
    traces.push({ ...OB.outline(x, low, high), ...quiet, line: { width: 0 }, fill: "toself", fillcolor: OB.faint(banded.color) });
    const upright = OB.uprights(x, low, high);
    if (upright.x.length) traces.push({ ...upright, ...quiet, line: { width: 7, color: OB.faint(banded.color) } });
  }
  const format = OB.hoverFormat(drawn, order);
  const hover = (name) => `${OB.plain(name)} %{y:${format}}<extra></extra>`;
  for (const model of order) {
    const line = { color: model.color, dash: model.dash, width: model === data.models[0] ? 2.4 : model.floor ? 1.5 : 2 };
    const y = drawn.lines[model.name].point;
    traces.push({ x, y, mode: OB.mode(y), line, marker: { color: model.color, size: 4 }, hovertemplate: hover(model.shown) });
  }
  if (shown.has("\u0000actual")) {
    const mode = x.length <= 80 ? "lines+markers" : OB.mode(drawn.actual);
    const style = { line: { color: "#1d1d1f", width: 1.8 }, marker: { color: "#1d1d1f", size: 4 } };
    traces.push({ x, y: drawn.actual, mode, ...style, hovertemplate: hover("what happened") });
  }
  return traces;
};

OB.errorWords = (data, drawn, shown, where) => {
  const errors = data.models
    .filter((model) => shown.has(model.name) && drawn.lines[model.name])
    .map((model) => [model.shown, OB.meanError(drawn.actual, drawn.lines[model.name].point)])
    .filter(([, error]) => error !== null)
    .sort((one, other) => one[1] - other[1]);
  if (!errors.length) return "";
  const unit = data.unit ? ` ${data.unit}` : "";
  const said = errors.map(([name, error], index) => `${name} ${OB.number(error)}${index ? "" : unit}`);
  return `Average error ${where}: ${said.join(", ")}.`;
};

OB.drawForecasts = (data) => {
  const plot = document.getElementById("forecast-plot");
  if (!plot || !data.forecasts.length) return Promise.resolve();
  const models = data.models.filter((model) => data.forecasts[0].point[model.name]);
  const banded = models.find((model) => !model.floor) || models[0];
  const floors = models.filter((model) => model.floor).slice(0, models.length > 4 ? 1 : 2);
  const shown = new Set(["\u0000actual", banded.name, ...floors.map((model) => model.name)]);
  const actual = { name: "\u0000actual", shown: "what happened", color: "#1d1d1f", dash: "solid" };
  const state = { series: 0, origin: null };
  let picker = null;

  const draw = () => {
    const series = data.forecasts[state.series];
    const drawn = OB.stretch(series, models, state.origin);
    const layout = OB.layout(data, OB.narrow() ? 320 : 420);
    layout.hovermode = "x unified";
    layout.xaxis = OB.timeAxis(data.clock, drawn.stamps);
    layout.yaxis = { ...OB.rule, separatethousands: true };
    layout.annotations = [OB.unitNote(data.unit)];
    const marks = state.origin === null ? (series.cutoffs.length <= 40 ? series.cutoffs : []) : [series.cutoffs[state.origin]];
    layout.shapes = marks.map((x) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, layer: "below", line: { color: "#cbc6bb", width: 1, dash: "dot" } }));
    if (state.origin !== null && drawn.stamps[0] <= series.cutoffs[state.origin]) {
      layout.annotations.push({ x: marks[0], y: 1, yref: "paper", xanchor: "right", yanchor: "top", text: "forecast made ", showarrow: false, font: { size: 12, color: "#5f6166" } });
    }
    const all = drawn.overlap ? "of the lines drawn, at each stamp the latest forecast" : "over all windows drawn";
    const where = state.origin === null ? all : "in this window";
    const band = banded && series.low[banded.name] && shown.has(banded.name) ? ` The shaded band is where ${banded.shown} expects four of five values.` : "";
    const lines = marks.length > 1 ? " Dotted lines mark where a new forecast was made." : "";
    const joined = state.origin === null && series.cutoffs.length > 1 ? `${lines} Every stamp shows the freshest forecast.` : "";
    document.getElementById("forecast-words").textContent = OB.errorWords(data, drawn, shown, where) + band + joined;
    return Plotly.react(plot, OB.forecastTraces(data, drawn, shown, banded), layout, OB.config);
  };

  const place = document.getElementById("forecast-pickers");
  const offerOrigins = () => {
    const series = data.forecasts[state.series];
    if (picker) picker.parentElement.remove();
    if (series.cutoffs.length < 2) {
      state.origin = 0; // with what came before it
      return;
    }
    const latest = series.cutoffs.map((cutoff, index) => [OB.stamp(cutoff, data.clock), index]).reverse();
    picker = OB.picker(place, "Forecast made after", ["All windows in a row", ...latest.map(([text]) => text)], 0, (index) => {
      state.origin = index === 0 ? null : latest[index - 1][1];
      draw();
    });
  };
  if (data.forecasts.length > 1) {
    OB.picker(place, "Series", data.forecasts.map((series) => series.id), 0, (index) => {
      [state.series, state.origin] = [index, null];
      offerOrigins();
      draw();
    });
  }
  offerOrigins();
  OB.legend(document.getElementById("forecast-legend"), [actual, ...models], shown, draw);
  return draw();
};

OB.drawSteps = (data) => {
  const plot = document.getElementById("steps-plot");
  if (!plot) return Promise.resolve();
  const { steps, error, unit: measure } = data.steps;
  const models = data.models.filter((model) => error[model.name]);
  const shown = new Set(models.map((model) => model.name));
  const unit = data.clock.unit === "step" || data.clock.multiple > 1 ? "steps" : `${data.clock.unit}s`;
  const leader = models[0];
  const errors = error[leader.name];
  const at = (better) => errors.reduce((best, value, index) => (value !== null && (errors[best] === null || better(value, errors[best])) ? index : best), 0);
  const [worst, best] = [at((one, other) => one > other), at((one, other) => one < other)];
  const ahead = (index) => `${OB.count(steps[index], unit.slice(0, -1))} ahead`;
  document.getElementById("steps-words").textContent =
    errors[worst] === errors[best]
      ? `${OB.begin(leader.shown)} errs by ${OB.number(errors[worst])} on average over all windows and series${steps.length > 1 ? ", at every step" : ""}.`
      : `${OB.begin(leader.shown)} errs most ${ahead(worst)} (by ${OB.number(errors[worst])} on average over all windows and series) ` +
        `and least ${ahead(best)} (by ${OB.number(errors[best])}).`;
  const draw = () => {
    const layout = OB.layout(data, OB.narrow() ? 270 : 320);
    layout.hovermode = "x unified";
    layout.xaxis = { ...OB.axis, title: { text: `${unit} ahead`, standoff: 6, font: { size: 13, color: "#5f6166" } }, ...OB.wholeTicks(steps.length, OB.narrow() ? 6 : 12), hoverformat: "d" };
    layout.yaxis = { ...OB.rule, rangemode: "tozero" };
    layout.annotations = [OB.unitNote(measure ? `mean error, ${measure}` : "mean error")];
    const traces = models.filter((model) => shown.has(model.name)).reverse().map((model) => ({
      x: steps,
      y: error[model.name],
      mode: "lines",
      line: { color: model.color, dash: model.dash, width: model === leader ? 2.6 : 1.6 },
      hovertemplate: `${OB.plain(model.shown)} %{y:${OB.tiny(errors[worst]) ? ".2e" : `,.${OB.digits(errors[worst])}f`}}<extra></extra>`,
    }));
    return Plotly.react(plot, traces, layout, OB.config);
  };
  OB.legend(document.getElementById("steps-legend"), models, shown, draw);
  return draw();
};
