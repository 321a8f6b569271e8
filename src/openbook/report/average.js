"use strict";

OB.panelColors = ["#0a5c99", "#c2500a", "#0f7f5f", "#9b4a86", "#8a6d00", "#4b4fa8"];

/** Where a place lies, in words: before the cutoff, or before a step of the forecast. */
OB.placeWords = (places, clock, back) => {
  const [here, before, after] = back ? ["the last moment known", "earlier", "later"] : ["the same stamp", "before", "after"];
  return places.map((place) => (place === 0 ? here : `${OB.steps(place, clock)} ${place > 0 ? before : after}`));
};

OB.placeAxis = (part, more) => {
  // Places of a long book lie far apart in time and side by side here: labels would touch. The newest are kept.
  const widest = Math.max(0, ...part.ticks.map(([, text]) => text.length));
  const all = part.ticks.length === part.places.length && !OB.narrow();
  const room = OB.narrow() ? 300 : 850; // pixels, of which a letter takes seven
  const least = Math.max(all ? 0 : part.places.length / (OB.narrow() ? 4 : 9), (part.places.length * (7 * widest + 10)) / room);
  const ticks = OB.apart([...part.ticks].reverse(), ([at]) => at, least).reverse();
  return {
    ...OB.axis, range: [-0.5, part.places.length - 0.5], tickvals: ticks.map(([at]) => at), ticktext: ticks.map(([, text]) => text), tickangle: 0, ...more,
  };
};

OB.axisTitle = (text) => ({ text, standoff: 6, font: { size: 12.5, color: "#5f6166" } });

OB.backTitle = (back) => OB.axisTitle(back ? "back from the moment the forecast was made" : "back from each step of the forecast");

OB.medianHeat = (data, map, back) => {
  const [rows, columns] = map.cells.shape;
  const raw = OB.unpack(map.cells);
  const z = Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, i) => (raw[row * columns + i] * map.cells.largest) / 65535));
  const words = OB.placeWords(map.places, data.clock, back);
  return {
    type: "heatmap", x: map.places.map((_, index) => index), y: map.steps, z, zmin: 0, zmax: map.cells.largest, showscale: false, text: map.steps.map(() => words),
    colorscale: data.weightScale.map((color, index) => [index / (data.weightScale.length - 1), color]),
    hovertemplate: "step %{y}, %{text}<br><b>%{z:.2%}</b> (median)<extra></extra>",
  };
};

/** The upper end of a line's middle half. */
OB.highest = (part) => OB.unpack(part.high).reduce((top, value) => Math.max(top, value || 0), 0);

/** A median line in its middle half; bars with whiskers where there are few places. */
OB.bandTraces = (data, part, color, back, axes) => {
  const [low, median, high] = ["low", "median", "high"].map((name) => Array.from(OB.unpack(part[name]), (value) => (Number.isNaN(value) ? null : value)));
  const x = part.places.map((_, index) => index);
  const text = OB.placeWords(part.places, data.clock, back).map((word, i) => `${word}<br><b>${OB.percent(median[i] || 0)}</b> (middle half ${OB.percent(low[i] || 0)} to ${OB.percent(high[i] || 0)})`);
  const hover = { text, hovertemplate: "%{text}<extra></extra>", ...axes };
  if (x.length <= 12) {
    const whisker = { type: "data", array: high.map((value, i) => value - median[i]), arrayminus: median.map((value, i) => value - low[i]), color: "#1d1d1f", thickness: 1.5 };
    return [{ type: "bar", x, y: median, error_y: whisker, marker: { color }, textposition: "none", ...hover }];
  }
  const edge = { x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", ...axes };
  return [
    { ...edge, y: low },
    { ...edge, y: high, fill: "tonexty", fillcolor: OB.faint(color) },
    { x, y: median, mode: "lines", line: { color, width: 1.8 }, ...hover },
  ];
};

/** Medians as bars with a whisker from the lower to the upper quartile. */
OB.quartileBars = (place, rows, more, colors) => {
  place.replaceChildren();
  const list = OB.element("ol");
  const longest = Math.max(...rows.map((row) => row[3] || 0)) || 1;
  rows.forEach(([name, low, median, high], index) => {
    const row = OB.element("div", undefined, "row");
    row.append(OB.element("span", name), OB.element("b", `${OB.percent(median || 0)} (${OB.percent(low || 0)} to ${OB.percent(high || 0)})`));
    const track = OB.element("div", undefined, "track");
    const [bar, whisker] = [OB.element("i"), OB.element("u")];
    bar.style.width = `${(100 * median) / longest}%`;
    if (colors && index < colors.length) bar.style.background = colors[index];
    whisker.style.left = `${(100 * low) / longest}%`;
    whisker.style.width = `${(100 * (high - low)) / longest}%`;
    track.append(bar, whisker);
    const item = OB.element("li");
    item.append(row, track);
    list.append(item);
  });
  place.append(list);
  if (more > 0) place.append(OB.element("p", `${OB.count(more, "smaller input")} not listed.`));
};

OB.drawMedianMap = (data, id, map, back, line) => {
  const plot = document.getElementById(id);
  const rows = map.steps.length;
  const heat = Math.min(520, Math.max(140, rows * Math.max(5, Math.min(26, 320 / rows))));
  const above = line ? 120 : 0;
  const layout = OB.layout(data, heat + above + 72);
  layout.margin = { l: 54, r: 8, t: 22, b: 50 };
  layout.xaxis = OB.placeAxis(map, { title: OB.backTitle(back), anchor: "y" });
  layout.yaxis = { ...OB.axis, domain: [0, heat / (heat + above)], range: [map.steps.at(-1) + 0.5, map.steps[0] - 0.5], automargin: false, showline: false, ...OB.wholeTicks(rows, Math.ceil(heat / 60)) };
  layout.bargap = 0.3;
  const caption = (text, y) => ({ text, x: 0, xref: "paper", y, yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12.5, color: "#5f6166" } });
  layout.annotations = [caption(line ? "down: the decoder’s steps, the forecast’s from 1" : "down: the forecast’s steps", heat / (heat + above))];
  const traces = [OB.medianHeat(data, map, back)];
  layout.shapes = [];
  if (line) {
    layout.yaxis2 = { ...OB.rule, domain: [(heat + 28) / (heat + above), 1], rangemode: "tozero", tickformat: OB.shareFormat(OB.highest(line)), nticks: 4, automargin: false };
    layout.annotations.push(caption("share of each past moment, the forecast’s steps together", 1));
    traces.push(...OB.bandTraces(data, line, "#37659e", back, { yaxis: "y2" }));
    if (map.steps[0] < 1) layout.shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: 0.5, y1: 0.5, line: { color: "#c2500a", width: 2 } });
  }
  OB.ramp(document.getElementById(`${id}-ramp`), data.weightScale, map.cells.largest);
  return Plotly.react(plot, traces, layout, OB.config);
};

OB.drawAlpha = (data, inputs) => {
  const height = 78;
  const panels = inputs.panels;
  const layout = OB.layout(data, panels.length * (height + 26) + 60);
  layout.margin = { l: 46, r: 8, t: 22, b: 44 };
  const inner = panels.length * (height + 26) - 26;
  const top = Math.max(...panels.flatMap((panel) => Array.from(OB.unpack(panel.high)).filter((value) => !Number.isNaN(value))));
  const traces = [];
  layout.annotations = [];
  panels.forEach((panel, index) => {
    const name = index ? `y${index + 1}` : "y";
    const end = 1 - (index * (height + 26)) / inner;
    layout[`yaxis${index ? index + 1 : ""}`] = { ...OB.rule, domain: [Math.max(0, end - height / inner), end], range: [0, 1.05 * top || 1], tickformat: OB.shareFormat(top), nticks: 3, automargin: false };
    layout.annotations.push({ text: OB.plain(OB.cut(panel.name, OB.narrow() ? 36 : 100)), x: 0, xref: "paper", y: end, yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 13, color: "#1d1d1f" } });
    traces.push(...OB.bandTraces(data, panel, OB.panelColors[index], true, { yaxis: name }));
  });
  layout.xaxis = OB.placeAxis(panels[0], { title: OB.backTitle(true), anchor: panels.length > 1 ? `y${panels.length}` : "y" });
  return Plotly.react(document.getElementById("average-alpha"), traces, layout, OB.config);
};

OB.drawAverages = (data) => {
  const place = document.getElementById("average-pickers");
  if (!place || !data.averages.length) return Promise.resolve();
  const say = (id, text) => {
    document.getElementById(id).textContent = text;
  };
  const draw = (entry) => {
    say("average-map-words", entry.words.map);
    say("average-lags-words", entry.words.lags);
    const lags = OB.layout(data, OB.narrow() ? 250 : 270);
    lags.xaxis = OB.placeAxis(entry.lags, { title: OB.backTitle(false) });
    lags.yaxis = { ...OB.rule, rangemode: "tozero", tickformat: OB.shareFormat(OB.highest(entry.lags)), nticks: 5 };
    lags.bargap = 0.4;
    const done = [
      OB.drawMedianMap(data, "average-map", entry.map, entry.axis === "back", null),
      Plotly.react(document.getElementById("average-lags"), OB.bandTraces(data, entry.lags, "#37659e", false, {}), lags, OB.config),
    ];
    document.getElementById("average-inputs").hidden = !entry.features.length;
    say("average-inputs-words", entry.words.features);
    OB.quartileBars(document.getElementById("average-inputs-bars"), entry.features, entry.more);
    const stages = document.getElementById("average-stages");
    if (stages) stages.hidden = !entry.inputs;
    if (!entry.inputs) return Promise.all(done);
    say("average-alpha-words", entry.inputs.words);
    say("average-beta-words", entry.times.words);
    OB.quartileBars(document.getElementById("average-alpha-bars"), entry.inputs.features, entry.inputs.more, OB.panelColors);
    done.push(OB.drawAlpha(data, entry.inputs), OB.drawMedianMap(data, "average-beta", entry.times.map, true, entry.times.line));
    return Promise.all(done);
  };
  if (data.averages.length > 1) {
    OB.picker(place, "Model", data.averages.map((entry) => entry.shown), 0, (index) => draw(data.averages[index]));
  }
  return draw(data.averages[0]);
};
