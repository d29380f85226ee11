"use strict";
// The page: what there is to say of each run, first what its reader wants to know.

const WINDOWS = 20;
const POLL_MS = 2000;
const LEAST_REST = 10;
const smoothing = (run) => Math.max(1, Math.floor((run.step || 1) / WINDOWS));

const withInterval = (estimate) => (estimate
  ? [fixed(estimate[0]), el("span", {class: "interval"}, `${fixed(estimate[1])} \u2013 ${fixed(estimate[2])}`)] : "-");

function changed(change) {
  if (!change) return "-";
  const kind = change[1] > 0 ? "good" : change[2] < 0 ? "bad" : "soft";
  return [el("span", {class: kind}, signed(change[0])), el("span", {class: "interval"}, `${signed(change[1])} \u2013 ${signed(change[2])}`)];
}

function header(run) {
  const of = run.num_steps ? ` of ${run.num_steps}` : "";
  return el("header", null,
    el("div", {class: "row"}, el("h1", null, run.name), run.is_done ? el("span", {class: "pill good"}, `done, ${count(run.step, "step")}`)
      : el("span", {class: "pill"}, `step ${run.step}${of}`), alarmPill(run)),
    el("p", {class: "lead"}, run.verdict || "No final evaluation yet: the verdict comes with it."),
    run.model && el("p", {class: "soft small"}, `model ${run.model}`));
}

function alarmPill(run) {
  if (!run.alarms) return null;
  const number = run.alarms.length;
  return el("span", {class: number ? "pill warn" : "pill good"}, number ? count(number, "alarm") : "no alarm");
}

function learnedSection(run) {
  return el("section", {id: "learned"}, el("h2", null, "Did it learn?"),
    el("p", {class: "soft small"}, "Held-out rows under the task's main metric, with 95 % intervals. ",
      "Blind: the best answer made without the video. Upper dot: before GRPO, lower dot: after it, dashed: blind."),
    run.learned.length ? el("div", {class: "cards"}, run.learned.map((set) => learnedCard(run, set)))
      : el("div", {class: "charts"}, Object.entries(run.rewards).map(([task, points]) => rewardChart(run, task, points))),
    run.suites.map((suite) => el("div", {class: "card", style: "margin-top:1rem"}, el("h3", null, words(suite.title)),
      table(suite.columns, suite.rows, "figures small suite"), el("p", {class: "soft small"}, suite.caption))),
    run.grids.map((grid) => heatMap(grid)),
    run.figures.length ? folded("All figures, by metric and parser", () => el("div", null, run.figures.map((set) => el("div", {style: "margin-top:1rem"},
      el("h3", null, `${words(set.name)}, ${set.num_rows} rows`), table(["", ...set.metrics], set.rows, "figures small"))))) : null);
}

function heatMap(grid) {
  const cell = (value) => value === null ? "" : el("div", {style: `background:color-mix(in srgb, var(--true) ${80 * value}%, transparent); padding:.2rem .5rem`}, fixed(value));
  return el("div", {class: "card", style: "margin-top:1rem"}, el("h3", null, `${words(grid.name)} by part, ${grid.mode}`),
    table(["", ...grid.columns], grid.rows.map((row, i) => [row, ...grid.values[i].map(cell)]), "small"));
}

function learnedCard(run, set) {
  const estimates = [set.blind && set.blind.estimate, ...Object.values(set.modes).flatMap((mode) => [mode.before, mode.after])].filter(Boolean);
  const most = Math.ceil(Math.max(...estimates.map((estimate) => estimate[2]), 0.05) * 10) / 10;
  const rows = Object.entries(set.modes).filter(([, mode]) => mode.before || mode.after).map(([name, mode]) => [
    name, withInterval(mode.before), withInterval(mode.after), changed(mode.change), intervalChart(mode, set.blind, most)]);
  const points = run.rewards[set.task];
  return el("div", {class: "card"},
    el("div", {class: "row"}, el("h3", null, words(set.name)), el("span", {class: "soft small"}, `${set.metric}${set.num_rows ? `, ${set.num_rows} rows` : ""}`),
      set.blind && el("span", {class: "pill"}, `blind ${fixed(set.blind.estimate[0])} ${words(set.blind.name)}`)),
    rows.length ? table(["", "before", "after", "change", ""], rows, "figures") : null,
    el("div", {class: "pair"},
      set.course.length ? plain(lineChart("Held out", [{name: "greedy", points: set.course, colour: "var(--accent)"}],
        {note: `${set.metric}, greedy`, marks: set.blind ? [{name: "blind", value: set.blind.estimate[0]}] : []})) : null,
      points && set.name === set.task ? plain(rewardChart(run, set.task, points, "Training reward")) : null));
}

const plain = (chart) => { chart.classList.remove("card"); return chart; };

function rewardChart(run, task, points, title = words(task)) {
  return lineChart(title, [{name: "step", points, faint: true, colour: "var(--true)"},
    {name: `mean of ${count(smoothing(run), "step")}`, points: smooth(points, smoothing(run)), colour: "var(--true)"}]);
}

function healthSection(run) {
  const alarms = run.alarms;
  return el("section", {id: "health"}, el("h2", null, "Is it healthy?"),
    !alarms ? el("p", {class: "soft"}, "This run has recorded no alarms; the curves below tell.")
      : !alarms.length ? el("p", {class: "good"}, "No alarm fired.")
        : el("div", {class: "alarms"}, alarms.map((alarm) => el("div", {class: "alarm"}, alarmText(alarm)))),
    el("div", {class: "charts"}, run.health.map((chart) => lineChart(chart.title, Object.entries(chart.lines).map(([name, points]) => ({name: words(name), points})),
      {alarms: alarms || []}))),
    folded(`All ${run.charts.length} charts`, () => {
      const charts = el("div", {class: "charts"});
      const show = (text) => charts.replaceChildren(...run.charts.filter((chart) => chart.title.includes(text)).map((chart) =>
        lineChart(chart.title, Object.entries(chart.lines).map(([name, points]) => ({name, points})))));
      show("");
      return el("div", {style: "margin-top:.6rem"}, el("input", {type: "search", placeholder: "name of a metric", "aria-label": "name of a metric",
        oninput: (event) => show(event.target.value)}), charts);
    }));
}

function alarmText(alarm) {
  const about = [alarm.task, alarm.reward].filter(Boolean).map(words).join(", ");
  return [el("b", null, words(alarm.name)), `${about ? ` (${about})` : ""} at step ${alarm.step}: `,
    el("span", {class: "number"}, `${figure(alarm.value)}, threshold ${figure(alarm.threshold)}`), el("div", {class: "soft small"}, alarm.look_at)];
}

function timeSection(run) {
  const steps = Object.keys(run.timeline.steps).map(Number), total = Object.values(run.seconds).reduce((a, b) => a + b, 0);
  if (!steps.length && !total) return el("section");
  const picture = el("div"), label = el("span", {class: "number small"});
  const show = (i) => { picture.replaceChildren(stepTimeline(run.timeline, steps[i])); label.textContent = `step ${steps[i]}`; };
  if (steps.length) show(steps.length - 1);
  return el("section", {id: "time"}, el("h2", null, "Where did the time go?"),
    steps.length ? el("div", {class: "card", style: "margin-top:.9rem"}, el("div", {class: "row"}, el("span", {class: "label"}, "A step"),
      el("input", {type: "range", min: 0, max: steps.length - 1, value: steps.length - 1, style: "flex:1", "aria-label": "step of the timeline", oninput: (event) => show(event.target.value)}), label), picture) : null,
    total ? el("div", {class: "card", style: "margin-top:1rem"}, Object.entries(run.seconds).sort((a, b) => b[1] - a[1]).map(([phase, seconds], i) =>
      el("div", {class: "lane", style: "margin-top:.25rem"}, el("span", null, words(phase)), el("div", {class: "track"},
        el("div", {class: "span", style: `left:0;width:${seconds / total * 100}%;background:${colour(0)};opacity:.45`}),
        el("span", {class: "small number", style: "position:absolute;right:.4rem;line-height:.95rem"}, `${seconds.toFixed(1)} s`))))) : null);
}

function filesSection(run) {
  return el("section", {id: "files"}, el("h2", null, "What ran"), Object.entries(run.files).map(([name, text]) => folded(name, () => el("pre", null, text))));
}

function runSections(run, source) {
  const browser = rolloutBrowser(run, source);
  browser.draw();
  const rollouts = el("section", {id: "rollouts"}, el("h2", null, "What does it do?"), run.rollouts.num_groups ? browser.element : el("p", {class: "soft"}, "No rollouts yet."));
  const parts = (newer) => [header(newer), el("nav", null, [["learned", "Learned"], ["health", "Health"], ["rollouts", "Rollouts"], ["time", "Time"], ["files", "Recipe"]]
    .map(([id, text]) => el("a", {href: `#${id}`}, text))), learnedSection(newer), healthSection(newer), rollouts, timeSection(newer), filesSection(newer)];
  let drawn = parts(run);
  const element = el("div", null, drawn);
  return {element, update(newer) {
    browser.update(newer);
    const open = new Set([...element.querySelectorAll("details[open] > summary")].map((node) => node.textContent));
    // One by one: the rollouts stay where they are, and keep the reader's cursor.
    const next = parts(newer);
    next.forEach((part, i) => { if (part !== drawn[i]) drawn[i].replaceWith(part); });
    drawn = next;
    for (const node of element.querySelectorAll("details > summary")) node.parentNode.open = open.has(node.textContent);
  }};
}

function main() {
  const data = JSON.parse(document.getElementById("data").textContent), page = document.getElementById("page");
  page.replaceChildren();
  if (data.is_live) { live(page, data.runs.map((run) => run.name)); return; }
  const [run] = data.runs;
  page.append(runSections(run, {frames: async (key) => run.clips[key], step: null}).element);
}

async function get(path) {
  const response = await fetch(path);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.problem || response.statusText);
  return answer;
}

// The newest state of each run, asked for again and again; the page keeps what its reader has chosen.
async function live(page, names) {
  const clips = new Map(), seen = names.map(() => ""), runs = names.map(() => null), shown = names.map(() => null);
  const once = async (path) => {
    if (!clips.has(path)) {
      const answer = await get(path);
      if (answer.missing) return answer;
      clips.set(path, answer);
    }
    return clips.get(path);
  };
  const source = (i) => ({frames: (key) => once(`/clip/${i}/${key}`), step: (step) => get(`/step/${i}/${step}`)});
  const status = el("p", {class: "soft small", id: "status"}, "reading the run"), compared = el("div"), place = el("div");
  const tabs = el("div", {class: "chips tabs"});
  let current = 0;
  const open = (i) => {
    current = i;
    tabs.replaceChildren(...(names.length > 1 ? names.map((name, n) => el("button", {class: "chip", "aria-pressed": String(n === i), onclick: () => open(n)}, name)) : []));
    if (runs[i]) { shown[i] = shown[i] || runSections(runs[i], source(i)); place.replaceChildren(shown[i].element); }
  };
  page.append(status, compared, tabs, place);
  for (;;) {
    const began = performance.now();
    try {
      let isNew = false;
      for (const i of names.keys()) {
        const answer = await get(`/run/${i}?seen=${encodeURIComponent(seen[i])}`);
        if (answer.state === seen[i]) continue;
        [seen[i], runs[i], isNew] = [answer.state, answer.run, true];
        if (shown[i]) shown[i].update(runs[i]);
      }
      if (isNew) {
        if (!shown[current]) open(current);
        if (names.length > 1) compared.replaceChildren(compareSection(runs, await get("/compare")));
      }
      status.textContent = runs.every((run) => run.is_done) ? "" : "live: the page follows the run";
    } catch (error) {
      status.textContent = `No answer: ${error.message}. Is rft view still running?`;
    }
    // A run has many rollouts to read: the server rests ten times as long as it worked, and the training has the machine.
    const rest = Math.max(POLL_MS, LEAST_REST * (performance.now() - began));
    await new Promise((resolve) => setTimeout(resolve, rest));
  }
}

main();
