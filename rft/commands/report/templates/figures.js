"use strict";
// A page of charts alone.

const shown = JSON.parse(document.getElementById("data").textContent);
document.getElementById("page").replaceChildren(el("h1", null, shown.title), el("div", {class: "charts"}, shown.charts.map((chart) =>
  lineChart(chart.title, Object.entries(chart.lines).map(([name, points]) => ({name, points}))))));
