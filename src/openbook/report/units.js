"use strict";
// Everything that goes wrong on the page is kept where a test (or a curious reader) can see it.
window.__errors = [];
{
  const record = (text) => {
    window.__errors.push(String(text));
    document.documentElement.dataset.errors = JSON.stringify(window.__errors);
  };
  document.documentElement.dataset.errors = "[]";
  window.addEventListener("error", (event) => record(event.message));
  window.addEventListener("unhandledrejection", (event) => record(event.reason));
  document.addEventListener("securitypolicyviolation", (event) => record(`refused: ${event.violatedDirective} ${event.blockedURI}`));
}

const OB = {};

OB.kinds = { f4: Float32Array, f8: Float64Array, u2: Uint16Array, i4: Int32Array };

/** An array packed by Python: little-endian numbers as base64. */
OB.unpack = (packed) => {
  const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
  return new OB.kinds[packed.kind](bytes.buffer);
};

/** Plotly reads some HTML in its texts; ours are plain. */
OB.plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** A text of at most so many characters. */
OB.cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

OB.element = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};

OB.digits = (value) => (value && isFinite(value) ? Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))) : 0);

/** Too small for decimals: such numbers are written with a power of ten. */
OB.tiny = (value) => value !== 0 && Math.abs(value) < 1e-5;

OB.number = (value) => {
  if (value === null || !isFinite(value)) return "–";
  if (OB.tiny(value)) {
    const [digits, power] = value.toExponential(2).split("e");
    return `${digits} × 10${power.replace("+", "").replace(/./g, (sign) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789-".indexOf(sign)])}`.replace("-", "−");
  }
  const digits = OB.digits(value);
  return (value + 0).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
};

OB.percent = (share) => {
  const value = 100 * share;
  return `${value >= 9.95 ? value.toFixed(0) : value >= 0.095 || value === 0 ? value.toFixed(1) : value.toFixed(2)}%`;
};

/** How the ticks of an axis of shares up to `largest` are written: no two of them alike. */
OB.shareFormat = (largest) => `.${largest > 0.02 || !(largest > 0) ? 1 : Math.min(6, Math.ceil(-Math.log10(largest)))}~%`;

OB.count = (number, unit) => `${number} ${unit}${number === 1 ? "" : "s"}`;

/** Whether a step is shorter than a day. */
OB.fine = (clock) => ["minute", "hour"].includes(clock.unit) || clock.unit in OB.digitsOf;

/** Digits of a second in labels. */
OB.digitsOf = { second: 0, millisecond: 3, microsecond: 6, nanosecond: 6 };

OB.months = { month: 1, quarter: 3, year: 12 };
OB.dayNames = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
OB.monthNames = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY = 86400000;

/** One stamp in words; stamps are milliseconds of the wall clock, or whole numbers. `short`: hours go by the name of their day,
 * parts of a second by none, and labels have the year only where the clock says so. */
OB.stamp = (value, clock, short) => {
  if (clock.unit === "step") return `${clock.multiple === 1 ? "step" : "stamp"} ${value}`;
  const time = new Date(value);
  const month = OB.monthNames[time.getUTCMonth()];
  const year = time.getUTCFullYear();
  if (clock.unit === "month") return `${month} ${year}`;
  if (clock.unit === "quarter") return `${year} Q${Math.floor(time.getUTCMonth() / 3) + 1}`;
  if (clock.unit === "year") return `${year}`;
  const day = `${time.getUTCDate()} ${month}${clock.withYear && !(short && OB.fine(clock)) ? ` ${year}` : ""}`;
  if (clock.unit === "week") return day;
  const name = OB.dayNames[time.getUTCDay()];
  if (clock.unit === "day" || clock.unit === OB.business) return `${name} ${day}`;
  const clockTime = OB.clockTime(value, OB.digitsOf[clock.unit]);
  if (short && OB.digitsOf[clock.unit]) return clockTime;
  return short ? `${name} ${clockTime}` : `${name} ${day} ${clockTime}`;
};

/** The time of day of a stamp: without seconds, or with so many digits of them. */
OB.clockTime = (value, digits) => {
  const text = new Date(Math.floor(value)).toISOString();
  if (digits === undefined) return text.slice(11, 16);
  const below = String(Math.round((value - Math.floor(value)) * 1000)).padStart(3, "0");
  return `${text.slice(11, 23)}${below}`.slice(0, digits ? 9 + digits : 8);
};

OB.business = "business day";

/** Business days since one of long ago. */
OB.businessDay = (value) => {
  const days = Math.floor(value / DAY) + 3; // from a Monday on
  return 5 * Math.floor(days / 7) + Math.min(5, ((days % 7) + 7) % 7);
};

/** The clock for the labels of an axis: with the year where the axis holds a date of several years. */
OB.axisClock = (stamps, clock) => ({ ...clock, withYear: stamps.at(-1) - stamps[0] > 300 * DAY });

/** How far apart two stamps are, without direction: '3 days'. */
OB.span = (source, target, clock) => {
  if (clock.unit === "step") return OB.count(Math.round(Math.abs(target - source) / clock.multiple), "step");
  if (clock.unit === OB.business) return OB.count(Math.abs(OB.businessDay(target) - OB.businessDay(source)), clock.unit);
  if (OB.months[clock.unit]) {
    const [begin, end] = [new Date(source), new Date(target)];
    const months = Math.abs((end.getUTCFullYear() - begin.getUTCFullYear()) * 12 + end.getUTCMonth() - begin.getUTCMonth());
    const unit = months % OB.months[clock.unit] === 0 ? clock.unit : "month";
    return OB.count(months / OB.months[unit], unit);
  }
  const distance = Math.abs(target - source);
  if (clock.unit === "week" && distance % (7 * DAY) === 0) return OB.count(distance / (7 * DAY), "week");
  const names = ["day", "hour", "minute", ...Object.keys(OB.digitsOf)];
  const parts = [];
  let rest = Math.round(1000 * distance); // in microseconds
  for (const name of names.slice(0, clock.unit in OB.digitsOf ? names.indexOf(clock.unit) + 1 : 3)) {
    const length = 1000 * OB.stepLengths[name];
    let number = length < 1 ? Math.round(rest / length) : Math.floor(rest / length);
    rest -= number * length;
    if (name === "day" && number < 2 && rest) [number, rest] = [0, rest + number * length]; // 25 hours
    parts.push([number, name]);
  }
  return parts.filter(([number]) => number).map(([number, unit]) => OB.count(number, unit)).join(" ") || `less than a ${parts.at(-1)[1]}`;
};

OB.stepLengths = { nanosecond: 1e-6, microsecond: 0.001, millisecond: 1, second: 1000, minute: 60000, hour: 3600000, day: DAY, week: 7 * DAY };

/** A number of steps as a length of time: '7 days'. */
OB.steps = (number, clock) => {
  const count = Math.abs(number) * (clock.unit === "step" ? 1 : clock.multiple);
  const months = count * OB.months[clock.unit];
  if (months && months % 12 === 0) return OB.count(months / 12, "year");
  if (!OB.stepLengths[clock.unit]) return OB.count(count, clock.unit);
  return OB.span(0, count * OB.stepLengths[clock.unit], clock);
};

OB.distance = (source, target, clock) => {
  if (source === target) return "the same stamp";
  return `${OB.span(source, target, clock)} ${source < target ? "before" : "after"}`;
};

/** Positions along a row of stamps worth a tick, at most `most`: midnights, Mondays, Januaries, else evenly spaced. */
OB.ticks = (stamps, clock, most) => {
  const all = stamps.map((_, index) => index);
  const times = stamps.map((value) => new Date(value));
  const midnight = (i) => times[i].getUTCHours() === 0 && times[i].getUTCMinutes() === 0;
  const whole = [(i) => stamps[i] % DAY === 0, ...[3600000, 60000, 1000].map((length) => (i) => stamps[i] % length === 0)];
  const rules = {
    nanosecond: whole,
    microsecond: whole,
    millisecond: whole,
    second: whole,
    minute: [midnight],
    hour: [midnight],
    day: [(i) => times[i].getUTCDay() === 1],
    [OB.business]: [(i) => times[i].getUTCDay() === 1],
    month: [(i) => times[i].getUTCMonth() === 0],
  }[clock.unit] || [];
  for (const rule of rules) {
    const found = all.filter(rule);
    if (found.length < 2) continue;
    const stride = Math.ceil(found.length / most);
    return OB.apart(found.filter((_, index) => index % stride === 0), (index) => index, (0.7 * stamps.length) / most);
  }
  const every = Math.max(1, Math.ceil(stamps.length / most));
  return all.filter((index) => index % every === 0);
};

/** What stands at least `least` behind the one kept before it. */
OB.apart = (ticks, at, least) => {
  const kept = [];
  for (const tick of ticks) if (!kept.length || Math.abs(at(tick) - at(kept.at(-1))) >= least) kept.push(tick);
  return kept;
};

/** Ticks on whole steps alone: on each of a few, else as many as asked for. */
OB.wholeTicks = (count, most) => (count <= 8 ? { dtick: 1, tick0: 1 } : { nticks: most });

/** A labelled choice; options are [value, text]. Calls back with the chosen index. */
OB.picker = (place, title, options, chosen, onPick) => {
  const label = OB.element("label", title);
  const select = OB.element("select");
  options.forEach((text, index) => {
    const option = OB.element("option", text);
    option.value = index;
    select.append(option);
  });
  select.value = chosen;
  select.addEventListener("change", () => onPick(Number(select.value)));
  label.append(select);
  place.append(label);
  return select;
};

/** Replaces the choices in a place; the one that had the keyboard has it again, if there still is one of its name. */
OB.keepFocus = (place, replace) => {
  const name = (label) => label.firstChild.textContent;
  const labels = () => [...place.querySelectorAll("label")];
  const held = labels().find((label) => label.contains(document.activeElement));
  replace();
  const again = held && labels().find((label) => name(label) === name(held));
  if (again) again.lastChild.focus();
};

OB.dashes = { solid: "", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4", longdashdot: "11 3 2 3" };

/** A short line in the colour and dash of a model. */
OB.swatch = (style) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", 26);
  svg.setAttribute("height", 10);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const parts = { x1: 0, x2: 26, y1: 5, y2: 5, stroke: style.color, "stroke-width": 2.5, "stroke-dasharray": OB.dashes[style.dash] || "" };
  for (const [name, value] of Object.entries(parts)) line.setAttribute(name, value);
  svg.append(line);
  return svg;
};

/** Names with their lines; each is a switch. `shown` is the set of names that are on. */
OB.legend = (place, styles, shown, onChange) => {
  place.replaceChildren();
  for (const style of styles) {
    const button = OB.element("button");
    button.type = "button";
    button.append(OB.swatch(style), OB.element("span", style.shown));
    button.setAttribute("aria-pressed", shown.has(style.name));
    button.addEventListener("click", () => {
      if (!shown.delete(style.name)) shown.add(style.name);
      button.setAttribute("aria-pressed", shown.has(style.name));
      onChange();
    });
    place.append(button);
  }
};

OB.begin = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

OB.narrow = () => window.innerWidth < 700;

OB.layout = (data, height) => ({
  height,
  margin: { l: 46, r: 10, t: 30, b: 48 },
  font: { family: data.font, size: 13, color: "#1d1d1f" },
  paper_bgcolor: "rgba(0,0,0,0)",
  plot_bgcolor: "rgba(0,0,0,0)",
  showlegend: false,
  dragmode: false,
  hoverlabel: { bgcolor: "#fff", bordercolor: "#bdb8ae", font: { family: data.font, size: 13, color: "#1d1d1f" } },
});

/** The unit above the axis, to be read without turning the head. */
OB.unitNote = (text) => ({ text: OB.plain(text), x: 0, xref: "paper", xanchor: "left", xshift: -40, y: 1, yref: "paper", yanchor: "bottom", yshift: 6, showarrow: false, font: { size: 13, color: "#5f6166" } });

OB.axis = { showgrid: false, zeroline: false, linecolor: "#1d1d1f", ticks: "outside", tickcolor: "#8d8f94", ticklen: 4, automargin: true, fixedrange: true };
OB.rule = { showgrid: true, gridcolor: "#e7e3db", zeroline: false, showline: false, ticks: "", automargin: true, fixedrange: true };
OB.config = { displayModeBar: false, responsive: true, displaylogo: false, doubleClick: false };
