"use strict";
// Several runs over each other: figures, curves, recipes, and answers to the same prompts.

function compareSection(runs, comparison) {
  return el("section", {id: "compare"}, el("h2", null, "Side by side"),
    legend(runs.map((run) => run.name)), comparedFigures(runs),
    el("div", {class: "charts"}, comparedCharts(runs)),
    folded(`Recipes: ${count(comparison.recipe.length, "different key")}`, () => table(["key", ...runs.map((run) => run.name)],
      comparison.recipe.map(([key, ...values]) => [el("span", {class: "mono"}, key), ...values.map((value) => el("span", {class: "mono"}, value))]))),
    comparison.num_shared ? folded(`Answers to the same held-out prompts: ${comparison.answers.length} of ${comparison.num_shared}`, () => sameAnswers(runs, comparison.answers))
      : el("p", {class: "soft"}, "The runs have no held-out prompts in common, or no evaluation yet."));
}

function comparedFigures(runs) {
  const names = [...new Set(runs.flatMap((run) => run.learned.map((set) => set.name)))];
  const cell = (set, mode) => (set && set.modes[mode].after ? withInterval(set.modes[mode].after) : "-");
  return el("div", {class: "card", style: "margin-top:.9rem"}, table(["rows", "run", "blind", "final, greedy", "change", "final, sampled"],
    names.flatMap((name) => runs.map((run) => {
      const set = run.learned.find((one) => one.name === name);
      return [run === runs[0] ? `${words(name)}${set ? `, ${set.metric}` : ""}` : "", run.name, set && set.blind ? fixed(set.blind.estimate[0]) : "-",
        cell(set, "greedy"), set ? changed(set.modes.greedy.change) : "-", cell(set, "sampled")];
    })), "figures"));
}

function comparedCharts(runs) {
  const tasks = [...new Set(runs.flatMap((run) => Object.keys(run.rewards)))].sort();
  const sets = [...new Set(runs.flatMap((run) => run.learned.map((set) => set.name)))];
  const titles = [...new Set(runs.flatMap((run) => run.health.map((chart) => chart.title)))];
  const over = (points) => runs.map((run, i) => ({name: run.name, colour: colour(i), points: points(run) || []}));
  const healthLine = (run, title) => Object.values((run.health.find((chart) => chart.title === title) || {lines: {}}).lines)[0];
  return [
    ...sets.map((name) => lineChart(words(name), over((run) => (run.learned.find((set) => set.name === name) || {}).course), {note: "held out, greedy"})),
    ...tasks.map((task) => lineChart(words(task), over((run) => smooth(run.rewards[task] || [], smoothing(run))), {note: "training reward"})),
    ...titles.map((title) => lineChart(title, over((run) => healthLine(run, title)))),
  ];
}

function sameAnswers(runs, answers) {
  return el("div", null, answers.map((row) => el("div", {class: "card", style: "margin-top:.6rem"},
    el("div", {class: "row"}, el("b", null, row.id), el("span", {class: "soft small"}, words(row.task)), el("span", {class: "mono"}, row.written)),
    el("div", {class: "answers"}, row.answers.map((answer, i) => el("div", null,
      el("div", {class: "small"}, el("span", {class: "key", style: `background:${colour(i)}`}), runs[i].name, " ", el("b", {class: "number"}, figure(answer.value))),
      el("div", {class: "answer"}, el("div", {class: "text"}, textParts(answer.completion)))))),
    row.spans.length ? timeAxis({spans: row.spans, duration_s: row.duration_s, media: null,
      rollouts: row.answers.map((answer) => ({spans: answer.spans, reward: answer.value}))}, null, null, () => {}) : null)));
}
