"use strict";
// Lines over steps, figures with their intervals, bars, and what ran when.

const PLOT = {width: 300, height: 150, left: 38, right: 10, top: 8, bottom: 20};

function scale(from, to, start, end) {
  const room = to > from ? to - from : 1;
  return (value) => start + (value - from) / room * (end - start);
}

function ticks(low, high, number = 4) {
  const raw = (high - low) / number || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-6; i++) found.push(Number((i * step).toPrecision(10)));
  return found;
}

// lines: [{name, points: [[step, value or null, low, high]], colour, faint}]; marks: [{name, value}] level lines;
// alarms: [{name, step}] upright ones.
function lineChart(title, lines, {marks = [], alarms = [], note = ""} = {}) {
  const p = PLOT;
  const points = lines.flatMap((line) => line.points).filter((point) => point[1] !== null);
  const caption = el("figcaption", null, el("b", null, title), note ? ` ${note}` : "");
  if (!points.length) return el("figure", {class: "card"}, caption, el("div", {class: "soft small"}, "no finite value"));
  const values = points.flatMap((point) => point.slice(1)).concat(marks.map((mark) => mark.value));
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  const floor = low >= 0 ? 0 : -Infinity;
  [low, high] = [Math.max(floor, low - room), high + room];
  const steps = points.map((point) => point[0]);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const x = scale(first, last, p.left, p.width - p.right), y = scale(low, high, p.height - p.bottom, p.top);
  const chart = svg("svg", {viewBox: `0 0 ${p.width} ${p.height}`, role: "img", "aria-label": title});
  for (const tick of ticks(low, high)) {
    chart.append(
      svg("line", {x1: p.left, x2: p.width - p.right, y1: y(tick), y2: y(tick), stroke: "var(--line)"}),
      svg("text", {x: p.left - 6, y: y(tick) + 4, "text-anchor": "end"}, figure(tick)));
  }
  chart.append(svg("text", {x: p.left, y: p.height - 5}, figure(first)));
  if (last > first) chart.append(svg("text", {x: p.width - p.right, y: p.height - 5, "text-anchor": "end"}, figure(last)));
  for (const mark of marks) {
    chart.append(
      svg("line", {x1: p.left, x2: p.width - p.right, y1: y(mark.value), y2: y(mark.value), stroke: "var(--faint)", "stroke-dasharray": "4 3"}),
      svg("text", {x: p.width - p.right, y: y(mark.value) - 4, "text-anchor": "end"}, mark.name));
  }
  for (const alarm of alarms.filter(({step}) => step >= first && step <= last)) {
    chart.append(svg("line", {class: "alarmed", x1: x(alarm.step), x2: x(alarm.step), y1: p.top, y2: p.height - p.bottom, stroke: "var(--warn)", "stroke-width": 1.5},
      svg("title", null, `${words(alarm.name)} at step ${alarm.step}`)));
  }
  lines.forEach((line, i) => drawLine(chart, line, line.colour || colour(i), x, y));
  const drawn = el("figure", {class: "card"}, caption,
    lines.length > 1 && el("div", {class: "legend"}, lines.map((line, i) =>
      el("span", null, el("i", {style: `background:${line.colour || colour(i)};opacity:${line.faint ? 0.4 : 1}`}), line.name))), chart);
  return hover(drawn, chart, lines, first, last, x);
}

function drawLine(chart, line, ink, x, y) {
  const banded = line.points.filter((point) => point[1] !== null && point.length > 3);
  if (banded.length > 1) {
    const up = banded.map((point) => `${x(point[0])},${y(point[3])}`);
    const down = banded.map((point) => `${x(point[0])},${y(point[2])}`).reverse();
    chart.append(svg("polygon", {points: [...up, ...down].join(" "), fill: ink, opacity: 0.16}));
  }
  for (const point of banded) {
    chart.append(svg("line", {x1: x(point[0]), x2: x(point[0]), y1: y(point[2]), y2: y(point[3]), stroke: ink, opacity: 0.6}));
    chart.append(svg("circle", {cx: x(point[0]), cy: y(point[1]), r: 3, fill: ink}));
  }
  // A new stroke after each gap; a lone point is a dot, a stroke of no length with round ends.
  let path = "", down = false;
  for (const [step, value] of line.points) {
    if (value !== null) path += `${down ? "L" : "M"}${x(step).toFixed(1)},${y(value).toFixed(1)}${down ? "" : "h0"}`;
    down = value !== null;
  }
  chart.append(svg("path", {d: path, fill: "none", stroke: ink, "stroke-width": line.faint ? 1 : 1.8,
    opacity: line.faint ? 0.35 : 1, "stroke-linecap": "round", "stroke-linejoin": "round"}));
}

function hover(drawn, chart, lines, first, last, x) {
  const rule = svg("line", {y1: PLOT.top, y2: PLOT.height - PLOT.bottom, stroke: "var(--faint)", visibility: "hidden"});
  const tip = el("div", {class: "tip", hidden: true});
  chart.append(rule);
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * PLOT.width;
    const step = first + (at - PLOT.left) / (PLOT.width - PLOT.left - PLOT.right) * (last - first);
    const near = lines.map((line) => [line, line.points.reduce((best, point) =>
      Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best, line.points[0])]).filter((pair) => pair[1]);
    rule.setAttribute("x1", x(near[0][1][0]));
    rule.setAttribute("x2", x(near[0][1][0]));
    rule.setAttribute("visibility", "visible");
    tip.replaceChildren(el("div", {class: "soft"}, `step ${figure(near[0][1][0])}`), ...near.map(([line, point]) =>
      el("div", null, `${line.name} ${figure(point[1])}`, point.length > 3 ? ` [${figure(point[2])}, ${figure(point[3])}]` : "")));
    tip.hidden = false;
    tip.style.left = `${Math.max(0, Math.min(event.clientX - box.left + 14, drawn.clientWidth - tip.offsetWidth - 4))}px`;
  });
  chart.addEventListener("pointerleave", () => { tip.hidden = true; rule.setAttribute("visibility", "hidden"); });
  drawn.append(tip);
  return drawn;
}

function smooth(points, window) {
  return points.map((point, i) => {
    const values = points.slice(Math.max(0, i + 1 - window), i + 1).map((one) => one[1]).filter((value) => value !== null);
    return [point[0], values.length ? mean(values) : null];
  });
}

// Before and after with their intervals on a line from 0 to `most`, and the blind baseline as a tick.
function intervalChart(mode, blind, most) {
  const [width, height] = [260, 30], x = scale(0, most, 6, width - 6);
  const chart = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", style: "min-width:9rem"},
    svg("line", {x1: 6, x2: width - 6, y1: 15, y2: 15, stroke: "var(--line)"}));
  if (blind) {
    chart.append(svg("line", {x1: x(blind.estimate[0]), x2: x(blind.estimate[0]), y1: 2, y2: 28, stroke: "var(--faint)", "stroke-dasharray": "3 2"},
      svg("title", null, `blind: ${blind.name}`)));
  }
  [[mode.before, "var(--faint)", 9], [mode.after, "var(--accent)", 21]].forEach(([value, ink, y]) => {
    if (!value) return;
    chart.append(
      svg("line", {x1: x(value[1]), x2: x(value[2]), y1: y, y2: y, stroke: ink, "stroke-width": 2, "stroke-linecap": "round"}),
      svg("circle", {cx: x(value[0]), cy: y, r: 4.5, fill: ink}));
  });
  return chart;
}

// Bars of all rollouts, and in front of them those of the chosen step.
function rewardBars(histogram, tasks, step) {
  const [width, height, bottom] = [360, 96, 14];
  const rows = histogram.steps.map((_, i) => i);
  const at = step === null ? null : rows.find((i) => histogram.steps[i] >= step);
  const bars = (histogram.tasks[Object.keys(histogram.tasks)[0]] || [[]])[0].length;
  const sums = (chosen) => Array.from({length: bars}, (_, bar) => tasks.reduce((sum, task) =>
    sum + chosen.reduce((part, i) => part + histogram.tasks[task][i][bar], 0), 0));
  const share = (values) => { const total = values.reduce((a, b) => a + b, 0) || 1; return values.map((value) => value / total); };
  const all = share(sums(rows)), own = at === undefined || at === null ? null : share(sums([at]));
  const y = scale(0, Math.max(...all, ...(own || [0]), 1e-9), height - bottom, 4), size = (width - 8) / Math.max(bars, 1);
  const draw = (values, ink, inset, opacity) => values.map((value, i) => svg("rect", {x: 4 + i * size + inset, width: size - 2 * inset,
    y: y(value), height: height - bottom - y(value), fill: ink, opacity, rx: 1.5}));
  return svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "histogram of rewards"},
    draw(all, "var(--faint)", 1, 0.45), own && draw(own, "var(--accent)", 3, 0.9),
    svg("text", {x: 4, y: height - 2}, figure(histogram.low)),
    svg("text", {x: width - 4, y: height - 2, "text-anchor": "end"}, figure(histogram.high)));
}

function stepTimeline(timeline, step) {
  const events = timeline.steps[step] || [];
  const names = [...new Set(Object.values(timeline.steps).flat().map((event) => event[1]))];
  const end = Math.max(...events.map((event) => event[2] + event[3]), 1e-9);
  return el("div", null,
    timeline.lanes.map((lane) => el("div", {class: "lane", style: "margin-top:.35rem"}, el("span", null, lane),
      el("div", {class: "track", style: "height:1.5rem"}, events.filter((event) => event[0] === lane).map((event) =>
        el("div", {class: "span", title: `${event[1]}: ${event[3].toFixed(3)} s`,
          style: `left:${event[2] / end * 100}%;width:${event[3] / end * 100}%;background:${colour(names.indexOf(event[1]))}`}))))),
    el("div", {class: "lane"}, el("span"), el("div", {class: "axis"}, el("span", {style: "left:0"}, "0 s"), el("span", {style: "left:100%"}, `${end.toFixed(2)} s`))),
    legend(names));
}
