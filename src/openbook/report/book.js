"use strict";

/** Weights of one forecast as numbers: by step and stamp [H][T] and by step and input [H][F], of all inputs or of one. */
OB.openEntry = (entry) => {
  const [steps, inputs] = [entry.targets.length, entry.features.length];
  const sources = Array.from(OB.unpack(entry.sources));
  const real = (packed) => Float64Array.from(OB.unpack(packed), (value) => (value * packed.largest) / 65535);
  const grid = (width, value) => Array.from({ length: steps }, (_, h) => Array.from({ length: width }, (_, i) => value(h, i)));
  // Distances across a change of clocks are not those between labels.
  const counted = entry.counted ? Array.from(OB.unpack(entry.counted.sources)) : sources;
  const page = { sources, counted };
  if (!entry.cube) {
    const [time, input] = [real(entry.time), real(entry.input)];
    page.byTime = () => grid(sources.length, (h, t) => time[h * sources.length + t]);
    page.byInput = grid(inputs, (h, f) => input[h * inputs + f]);
    return page;
  }
  const cube = real(entry.cube);
  const cell = (h, t, f) => cube[(h * sources.length + t) * inputs + f];
  const sum = (length, value) => {
    let total = 0;
    for (let i = 0; i < length; i += 1) total += value(i);
    return total;
  };
  page.byTime = (only) => grid(sources.length, (h, t) => (only === null ? sum(inputs, (f) => cell(h, t, f)) : cell(h, t, only)));
  page.byInput = grid(inputs, (h, f) => sum(sources.length, (t) => cell(h, t, f)));
  return page;
};

OB.meanRow = (rows) => rows[0].map((_, i) => rows.reduce((total, row) => total + row[i], 0) / rows.length);

OB.mean = (values) => values.reduce((total, value) => total + value, 0) / values.length;

OB.list = (texts) => (texts.length > 1 ? `${texts.slice(0, -1).join(", ")} and ${texts.at(-1)}` : texts.join(""));

/** The sentence saying what a forecast is made of, for models that tell; step null means the mean of all steps. */
OB.partsWords = (data, entry, step) => {
  if (!entry.parts.length || entry.parts.some((row) => row.some((value) => value === null))) return "";
  const [skip, attended, repeated, bounded] = step === null ? OB.meanRow(entry.parts) : entry.parts[step];
  const unit = data.unit ? ` ${data.unit}` : "";
  const floors = repeated ? `, ${OB.number(repeated)} from repeating past values` : "";
  const held = bounded ? `, ${OB.number(bounded)} to stay at zero` : "";
  const signed = `${attended < 0 ? "−" : "+"}${OB.number(Math.abs(attended))}`;
  const all = (size) => entry.parts.reduce((sum, row) => sum + size(row), 0);
  // Parts are written with six digits: what they leave when they cancel is rounding.
  const sum = skip + attended + repeated + bounded;
  const total = Math.abs(sum) < 1e-5 * [skip, attended, repeated, bounded].reduce((sizes, part) => sizes + Math.abs(part), 0) ? 0 : sum;
  const whole = all((row) => Math.abs(row[0] + row[1] + row[2] + row[3]));
  const size = all((row) => Math.abs(row[1])) / whole;
  const share = step === null && whole > 1e-5 * all((row) => row.reduce((sum, part) => sum + Math.abs(part), 0)) ? ` (${OB.percent(size)} of the forecast's size)` : "";
  return ` ${step === null ? "On average the" : "The"} forecast of ${OB.number(total)}${unit} is ${OB.number(skip)} from the linear path, ${signed} from what was learned beside it (look-ups, memory, corrections)${share}${floors}${held}.`;
};

/** Whether the largest weights are hardly more than even shares of the places a step could look at; never so of a few places. */
OB.spreadEvenly = (largest, reach) => {
  if (reach <= largest.length) return false;
  const total = largest.reduce((sum, value) => sum + value, 0);
  return largest[0] < 2 / reach && total < (1.6 * largest.length) / reach;
};

/** What a column would get of an even look-up; null where the steps drawn together could not look at the same places. */
OB.evenShare = (entry, step) => {
  if (step === null && entry.reach.some((count) => count !== entry.stamps)) return null;
  return 1 / Math.ceil(entry.reach[step === null ? 0 : step + 1] / entry.bin);
};

/** The share of a look-up that went nowhere, 0 where that is hardly anything; step null means the mean of all steps. */
OB.nowhere = (entry, step) => {
  const left = entry.memory.length ? (step === null ? OB.mean(entry.memory) : entry.memory[step]) : 0;
  return left >= 0.005 ? left : 0;
};

/** The sentence naming the three places looked at most; step null means all steps together. */
OB.readingWords = (data, entry, asked) => {
  const step = entry.targets.length === 1 ? 0 : asked;
  const row = step === null ? 0 : step + 1;
  const [source, weight] = [OB.unpack(entry.top.source), OB.unpack(entry.top.weight)];
  const [feature, share] = [OB.unpack(entry.top.feature), OB.unpack(entry.top.share)];
  const [from, to] = entry.counted ? [OB.unpack(entry.counted.top), entry.counted.targets] : [source, entry.targets];
  const width = entry.top.source.shape[1];
  const model = data.models.find((one) => one.name === entry.model);
  const name = model ? model.shown : entry.model;
  const noun = data.clock.noun;
  const places = [];
  let total = 0;
  const reach = entry.reach[row];
  for (let i = row * width; i < row * width + Math.min(width, reach); i += 1) {
    total += weight[i];
    const far = step === null ? "" : `${OB.distance(from[i], to[step], data.clock)}; `;
    const input = !entry.timeOnly && entry.features.length > 1 && share[i] > 0.5 ? `, mostly ${entry.features[feature[i]]}` : "";
    places.push(`${OB.stamp(source[i], data.clock)} (${far}${OB.percent(weight[i])}${input})`);
  }
  const others = reach - places.length;
  const left = OB.nowhere(entry, step);
  const rest = others > 0 ? ` Together that is ${OB.percent(total)} of ${left ? "that rest" : "the look-up"}; the other ${OB.count(others, noun)} share${others > 1 ? "" : "s"} ${left ? "what is left of it" : "the rest"}.` : "";
  const rows = step === null ? entry.targets.map((_, h) => h + 1) : [row];
  const even = rows.every((one) => OB.spreadEvenly(weight.slice(one * width, (one + 1) * width), entry.reach[one])) ? " The look-up is spread nearly evenly: no place stands out." : "";
  // What went nowhere comes first: all shares after it are of the rest alone.
  const nowhere = left ? `${OB.percent(left)} of the look-up went nowhere: there the network answers from what it remembers. ` : "";
  const withRest = left ? " with the rest" : "";
  const made = OB.partsWords(data, entry, step);
  if (step !== null) return `${nowhere}For ${OB.stamp(entry.targets[step], data.clock)}, ${name} looked most${withRest} at ${OB.list(places)}.${rest}${even}${made}`;
  const back = entry.lags.map(([from, to, mean]) => `${OB.distance(from, to, data.clock)} (${OB.percent(mean)})`);
  const lags = entry.targets.length > 1 && back.length ? `Counted back from each ${noun} it forecast, ${name} looked most${withRest} ${OB.list(back)}. ` : "";
  return `${nowhere}${lags}Over all ${OB.count(entry.targets.length, "step")}, the places ${lags ? "it" : name} looked at most${lags ? "" : withRest} were ${OB.list(places)}.${rest}${even}${made}`;
};

/** Actual values at the stamps of the book, where the page knows at least half of them; else null. */
OB.actualsAt = (data, entry, sources) => {
  const series = data.forecasts.find((one) => one.id === entry.id);
  if (!series || entry.bin > 1) return null;
  const [stamps, actual] = [OB.unpack(series.stamps), OB.unpack(series.actual)];
  const known = new Map(); // of an hour that comes twice in autumn both values, in their order
  stamps.forEach((stamp, index) => (known.has(stamp) ? known.get(stamp).push(actual[index]) : known.set(stamp, [actual[index]])));
  const line = sources.map((stamp, index) => {
    const values = known.get(stamp) ?? [];
    const value = values[values.length > 1 && stamp === sources[index - 1] ? 1 : 0];
    return Number.isFinite(value) ? value : null;
  });
  return line.filter((value) => value !== null).length >= sources.length / 2 ? line : null;
};

OB.bookTraces = (data, entry, page, weights, bars, line) => {
  const clock = data.clock;
  const at = page.sources.map((_, index) => index);
  const past = page.sources.map((stamp) => OB.stamp(stamp, clock));
  const more = entry.bin > 1 ? ` and the ${OB.count(entry.bin - 1, clock.noun)} after it` : "";
  const say = (target) => page.counted.map((source, t) => `${past[t]}${more}, ${OB.distance(source, target, clock)}`);
  const text = (entry.counted ?? entry).targets.map(say);
  const heat = {
    type: "heatmap", x: at, y: entry.targets.map((_, h) => h + 1), z: weights, text, zmin: 0, showscale: false,
    zmax: weights.reduce((most, row) => row.reduce((top, value) => Math.max(top, value), most), 0) || 1,
    customdata: entry.targets.map((target) => page.sources.map(() => OB.stamp(target, clock))),
    colorscale: data.weightScale.map((color, index) => [index / (data.weightScale.length - 1), color]),
    hovertemplate: `for %{customdata}<br>read %{text}<br><b>%{z:.2%}</b> of ${OB.lookUp(entry)}<extra></extra>`,
  };
  const time = { type: "bar", x: at, y: bars, text: past, textposition: "none", marker: { color: "#37659e" }, yaxis: "y2", hovertemplate: "%{text}<br><b>%{y:.2%}</b><extra></extra>" };
  const traces = [heat, time];
  if (line) traces.push({ type: "scatter", mode: "lines", x: at, y: line, text: past, customdata: line.map(OB.number), line: { color: "#1d1d1f", width: 1.5 }, yaxis: "y3", hovertemplate: "%{text}<br>%{customdata}<extra></extra>" });
  return traces;
};

/** What shares are shares of. */
OB.lookUp = (entry) => (OB.nowhere(entry, null) ? "what was looked up" : "the look-up");

/** How rows are labelled: hours by the name of their day, or by its date where a horizon has the same day twice. */
OB.rowLabels = (targets, clock) => (target) => {
  if (!OB.fine(clock) || targets.at(-1) - targets[0] < 7 * 86400000) return OB.stamp(target, clock, true);
  return OB.stamp(target, { ...clock, withYear: false }).split(" ").slice(1).join(" ");
};

OB.bookLayout = (data, entry, page, state, line) => {
  const narrow = OB.narrow();
  const steps = entry.targets.length;
  const heat = Math.min(620, Math.max(150, steps * Math.max(narrow ? 11 : 15, Math.min(30, 320 / steps))));
  const above = line ? 190 : 105;
  const height = heat + above + 60;
  const inner = heat + above;
  const layout = OB.layout(data, height);
  const [pastClock, aheadClock] = [page.sources, entry.targets].map((stamps) => OB.axisClock(stamps, data.clock));
  const rowLabel = OB.rowLabels(entry.targets, aheadClock);
  layout.bargap = page.sources.length > 150 ? 0 : 0.15;
  const dayOnly = { ...pastClock, unit: OB.fine(data.clock) ? "day" : data.clock.unit };
  const widest = Math.max(...[pastClock, dayOnly].map((one) => OB.stamp(page.sources[0], one, true).length));
  const place = document.getElementById("book-plot");
  const room = Math.floor((0.7 * ((place && place.clientWidth) || 900) - 100) / (7 * widest)); // ticks stand 0.7 of a share apart at least
  const most = narrow ? (pastClock.withYear || data.clock.unit in OB.digitsOf ? 2 : 3) : Math.max(2, Math.min(8, room));
  const xTicks = OB.ticks(page.sources, data.clock, most);
  const onDays = xTicks.every((i) => page.sources[i] % 86400000 === 0);
  layout.xaxis = {
    ...OB.axis, tickvals: xTicks, anchor: "y", range: [-0.5, page.sources.length - 0.5],
    ticktext: xTicks.map((i) => OB.stamp(page.sources[i], onDays ? dayOnly : pastClock, true)), tickangle: 0,
  };
  const yTicks = OB.ticks(entry.targets, { unit: "none" }, Math.floor(heat / 22));
  layout.yaxis = {
    ...OB.axis, domain: [0, heat / inner], autorange: false, range: [steps + 0.5, 0.5], automargin: false, showline: false, tickcolor: "rgba(0,0,0,0)",
    tickvals: yTicks.map((h) => h + 1), ticktext: yTicks.map((h) => rowLabel(entry.targets[h])),
  };
  const longest = Math.max(...layout.yaxis.ticktext.map((text) => text.length));
  layout.margin = { l: Math.min(narrow ? 132 : 180, Math.max(narrow ? 60 : 86, 18 + 7.6 * longest)), r: 6, t: 22, b: 38 };
  const barTop = line ? 1 - 95 / inner : 1;
  layout.yaxis2 = { ...OB.rule, domain: [(heat + 28) / inner, barTop], rangemode: "tozero", tickformat: OB.shareFormat(Math.max(...state.bars)), nticks: 3, automargin: false };
  if (line) layout.yaxis3 = { ...OB.rule, domain: [1 - 68 / inner, 1], nticks: 3, automargin: false };
  const caption = (text, y) => ({ text, x: 0, xref: "paper", y, yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12.5, color: "#5f6166" } });
  const unit = data.unit ? `: ${data.unit}` : "";
  layout.annotations = [
    caption(narrow ? "down: forecast steps · across: the past" : "down: the forecast’s steps · across: the past it could look up", heat / inner),
    caption(`share${narrow ? "" : ` of ${OB.lookUp(entry)}`}${state.step === null ? ", mean of all steps" : ` for ${OB.plain(rowLabel(entry.targets[state.step]))}`}`, barTop),
    ...(line ? [caption(`what happened then${OB.plain(unit)}`, 1)] : []),
  ];
  const even = state.only === null ? OB.evenShare(entry, state.step) : null;
  layout.shapes = even === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, yref: "y2", y0: even, y1: even, line: { color: "#b3400a", width: 1, dash: "dot" } }];
  if (state.step !== null) {
    layout.shapes.push({ type: "rect", x0: -0.5, x1: page.sources.length - 0.5, y0: state.step + 0.5, y1: state.step + 1.5, line: { color: "#c2500a", width: 2 } });
  }
  return layout;
};

OB.inputBars = (place, entry, shares) => {
  place.replaceChildren();
  const alone = entry.timeOnly || entry.features.length < 2;
  place.parentElement.classList.toggle("alone", alone);
  if (alone) return;
  place.append(OB.element("h4", `Share of ${OB.lookUp(entry)} by input`));
  const list = OB.element("ol");
  const order = shares.map((_, f) => f).sort((one, other) => shares[other] - shares[one]);
  for (const f of order.slice(0, 16)) {
    const row = OB.element("div", undefined, "row");
    row.append(OB.element("span", entry.features[f]), OB.element("b", OB.percent(shares[f])));
    const track = OB.element("div", undefined, "track");
    const bar = OB.element("i");
    bar.style.width = `${(100 * shares[f]) / shares[order[0]] || 0}%`;
    track.append(bar);
    const item = OB.element("li");
    item.append(row, track);
    list.append(item);
  }
  place.append(list);
  if (order.length > 16) {
    const rest = order.slice(16).reduce((total, f) => total + shares[f], 0);
    place.append(OB.element("p", `${OB.count(order.length - 16, "further input")}: ${OB.percent(rest)} together.`));
  }
};

/** Where an input stands among those of an entry; null for all of them, and where the entry can not show it alone. */
OB.inputPlace = (entry, name) => {
  const place = entry.cube && !entry.timeOnly && entry.features.length > 1 ? entry.features.indexOf(name) : -1;
  return place < 0 ? null : place;
};

OB.bookCaption = (entry, only, step) => {
  const parts = [];
  if (entry.timeOnly) parts.push("The weights of this model tell moments, not inputs: it weighs time alone, or it reads one input only.");
  if (entry.beside?.length) parts.push(`Only the past of ${entry.features[0]} has a place in this look-up; ${entry.beside.join(", ")} ${entry.beside.length > 1 ? "are" : "is"} read elsewhere in the model.`);
  if (entry.bin > 1) parts.push(`A column adds up ${entry.bin} neighbouring moments.`);
  const even = OB.evenShare(entry, step);
  const column = step !== null && entry.reach[step + 1] < entry.stamps ? "every column this step could look at" : "every column";
  if (only !== null) parts.push(`Only the weight of “${entry.features[only]}” is drawn; the other inputs hold the rest.`);
  else if (even !== null) parts.push(`Spread evenly, ${column} would get ${OB.percent(even)} (red dotted line).`);
  return parts.join(" ");
};
