"use strict";
// What the policy does: groups to choose from, and one of them with its frames, spans, boxes and completions.

const KINDS = ["most spread", "best", "worst", "fault"];
const allOf = (group, what) => [...new Set(group.rollouts.flatMap(what))];
const faultsOf = (rollout) => [
  ...rollout.scores.map((score) => score.fault).filter(Boolean),
  ...({length: ["truncated"], error: ["failed"]}[rollout.finish_reason] || [])];
const rewardsOf = (group) => group.rollouts.map((rollout) => rollout.reward);
const keyOf = (group) => `${group.step}/${group.place}`;

// source: {frames(key) -> promise of frames, step(number) -> promise of all groups of a step, or null}
function rolloutBrowser(run, source) {
  const state = {task: "", kind: "", fault: "", low: null, high: null, step: null, chosen: null, answer: 0};
  const extra = new Map();
  const controls = el("div", {class: "controls"}), list = el("div", {class: "list"}), detail = el("div", {class: "card", id: "group"});
  const said = el("p", {class: "soft small"});
  const all = () => [...new Map([...run.rollouts.groups, ...extra.values()].map((group) => [keyOf(group), group])).values()]
    .sort((a, b) => a.step - b.step || a.place - b.place);
  const atAnyStep = (group) => (!state.task || group.task === state.task) && (!state.kind || group.kinds.includes(state.kind))
    && (!state.fault || group.rollouts.some((rollout) => faultsOf(rollout).includes(state.fault)))
    && rewardsOf(group).some((reward) => (state.low === null || reward >= state.low) && (state.high === null || reward <= state.high));

  const matches = (group) => atAnyStep(group) && (state.step === null || group.step === state.step);
  const steps = () => (source.step ? run.rollouts.steps : [...new Set(all().filter(atAnyStep).map((group) => group.step))]);

  async function set(changes) {
    Object.assign(state, changes);
    if (changes.step && source.step) {
      for (const group of await source.step(changes.step)) if (!extra.has(keyOf(group))) extra.set(keyOf(group), group);
    }
    if (!steps().includes(state.step)) state.step = null;
    draw();
  }
  function choose(group) { state.chosen = keyOf(group); state.answer = 0; draw(); }
  function draw() {
    const found = all().filter(matches);
    const last = found.findLast((group) => group.kinds.includes("most spread")) || found[found.length - 1];
    const open = found.find((group) => keyOf(group) === state.chosen) || last;
    controls.replaceChildren(...controlParts());
    const at = list.scrollTop;
    list.replaceChildren(...(found.length ? found.slice().reverse().map((group) => item(group, group === open))
      : [el("div", {class: "empty"}, "No group of those shown here is like this.")]));
    list.scrollTop = at;
    said.textContent = leftOut(run, found.length, Boolean(source.step));
    detail.replaceChildren();
    detail.hidden = !open;
    if (open) groupView(detail, open, state, source, draw);
  }
  function controlParts() {
    const groups = all(), tasks = [...new Set(groups.map((group) => group.task))].sort();
    const faults = [...new Set(groups.flatMap((group) => allOf(group, faultsOf)))].sort();
    const kinds = KINDS.filter((kind) => groups.some((group) => group.kinds.includes(kind)));
    const along = steps();
    const chip = (key, value, text) => el("button", {class: "chip", "aria-pressed": String(state[key] === value), "data-filter": `${key}:${value}`,
      onclick: () => set({[key]: value})}, text);
    const number = (key, text) => el("input", {type: "number", step: "any", value: state[key] === null ? "" : state[key], "aria-label": text, placeholder: text,
      onchange: (event) => set({[key]: event.target.value === "" ? null : Number(event.target.value)})});
    return [
      el("div", null,
        el("div", {class: "chips"}, el("span", {class: "label"}, "Task"), chip("task", "", "all"), tasks.map((task) => chip("task", task, words(task)))),
        el("div", {class: "chips"}, el("span", {class: "label"}, "Groups"), chip("kind", "", "all"), kinds.map((kind) => chip("kind", kind, kind))),
        el("div", {class: "chips"}, el("span", {class: "label"}, "Fault"), el("select", {"aria-label": "fault", onchange: (event) => set({fault: event.target.value})},
          ["", ...faults].map((fault) => el("option", {value: fault, selected: state.fault === fault}, fault ? words(fault) : "any or none")))),
        el("div", {class: "chips"}, el("span", {class: "label"}, "Step"), el("div", {style: "flex:1;min-width:8rem"},
          el("input", {type: "range", min: 0, max: along.length, value: state.step === null ? 0 : along.indexOf(state.step) + 1, "aria-label": "step",
            onchange: (event) => set({step: Number(event.target.value) ? along[event.target.value - 1] : null}),
            oninput: (event) => { event.target.closest(".chips").lastChild.textContent = Number(event.target.value) ? `step ${along[event.target.value - 1]}` : "all steps"; }})),
          el("span", {class: "number small", style: "min-width:4.5rem"}, state.step === null ? "all steps" : `step ${state.step}`))),
      el("div", null,
        el("figure", null, el("figcaption", null, el("b", null, "Rewards"), state.step === null ? " of all rollouts" : " of all rollouts, in front those of the step"),
          rewardBars(run.rollouts.histogram, state.task ? [state.task] : Object.keys(run.rollouts.histogram.tasks), state.step)),
        el("div", {class: "chips"}, el("span", {class: "label"}, "Reward"), number("low", "from"), number("high", "to")))];
  }
  function item(group, isOpen) {
    return el("button", {class: "item", "aria-current": String(isOpen), onclick: () => choose(group)},
      el("span", null, el("b", {class: "number"}, `step ${group.step}`), ` \u00b7 ${words(group.task)}`),
      el("span", {class: "soft small"}, group.prompt.split("\n")[0]), rewardDots(group, run.rollouts.histogram));
  }
  return {
    element: el("div", null, controls, said, el("div", {class: "browser"}, list, detail)),
    draw,
    update(newer) { run = newer; if (!controls.contains(document.activeElement)) draw(); },
  };
}

function leftOut(run, numFound, isLive) {
  const {num_groups, num_rollouts, num_steps, groups} = run.rollouts;
  const where = isLive ? "The slider loads all groups of a step." : "All are in the run's folder rollouts/.";
  const rule = groups.length < num_groups
    ? `This page holds ${count(groups.length, "group")} of ${num_groups.toLocaleString("en")} (${count(num_rollouts, "rollout")}, ${count(num_steps, "step")}): of each task, along the steps, those of most spread, best, worst and most at fault; ${num_groups - groups.length} are left out. ${where}`
    : `All ${count(num_groups, "group")} (${count(num_rollouts, "rollout")}).`;
  return `${count(numFound, "group")} match. ${rule}`;
}

// The group's rewards as dots between the least and the largest of the run.
function rewardDots(group, histogram) {
  const x = scale(histogram.low, histogram.high, 4, 196);
  return svg("svg", {viewBox: "0 0 200 10", style: "margin-top:.2rem"}, svg("line", {x1: 0, x2: 200, y1: 5, y2: 5, stroke: "var(--line)"}),
    rewardsOf(group).map((reward) => svg("circle", {cx: x(reward), cy: 5, r: 3.6, fill: "var(--accent)", opacity: 0.5})));
}

function groupView(into, group, state, source, redraw) {
  const chosen = group.rollouts[Math.min(state.answer, group.rollouts.length - 1)];
  const rewards = rewardsOf(group), middle = mean(rewards);
  const spread = Math.sqrt(mean(rewards.map((reward) => (reward - middle) ** 2)));
  const pictures = el("div", {style: "margin-top:.6rem"});
  const pick = (i) => { state.answer = i; state.chosen = keyOf(group); redraw(); };
  into.append(
    el("div", {class: "row"}, el("h3", null, `Step ${group.step}, ${words(group.task)}`), group.kinds.map((kind) => el("span", {class: "pill"}, kind)),
      el("span", {class: "soft small"}, `mean reward ${figure(middle)}, spread ${figure(spread)}`)),
    el("div", {class: "prompt"}, group.prompt),
    el("div", {class: "small"}, el("span", {class: "key", style: "background:var(--true)"}), "target ", el("span", {class: "mono"}, group.written || JSON.stringify(group.target))),
    pictures,
    el("div", {class: "answers"}, group.rollouts.map((rollout, i) => answerCard(rollout, rollout === chosen, () => pick(i)))),
    ratioLine(group),
    el("p", {class: "soft small"}, mediaLine(group)));
  drawMedia(pictures, group, chosen, source, pick);
}

function ratioLine(group) {
  const known = group.rollouts.filter((rollout) => rollout.token_ratios), key = (sort, text) => [el("i", {class: `token ${sort}`, style: "--much:50%"}, text), " "];
  if (!known.length) return el("p", {class: "soft small"}, "Not learned from: single tokens are not compared.");
  return el("p", {class: "soft small"}, "Tokens of which the learner, at its last pass over them, and the engine that wrote them differ by 2 % or more: ",
    known.some((rollout) => rollout.token_ratios.length) ? [key("likelier", "likelier"), "or ", key("rarer", "less likely"), "in the learner; the stronger, the further apart."] : "none.");
}

function mediaLine(group) {
  if (!group.media.length) return `Prompt ${group.id}, text alone.`;
  const shown = group.media.map(({path, start_s: start, end_s: end}) =>
    `${path}${start !== null || end !== null ? ` from ${start || 0} s to ${end === null ? "its end" : `${end} s`}` : ""}`);
  return `Prompt ${group.id}, ${shown.join("; ")}.`;
}

async function drawMedia(into, group, chosen, source, pick) {
  if (!group.clips.length && group.spans.length) into.append(timeAxis(group, chosen, null, false, pick));
  for (const [i, named] of group.clips.entries()) {
    const clip = typeof named === "string" ? await source.frames(named) : named;
    if (clip.missing) into.append(el("div", {class: "missing"}, `No frames: ${clip.missing}.`));
    const shown = clip.missing ? null : clip;
    if (group.boxes.length) { if (shown) into.append(boxFrames(group, chosen, shown)); }
    else if (shown || group.spans.length) into.append(timeAxis(group, chosen, shown, group.media[i].is_image, pick));
  }
}

// Frames at their times, the target's spans, and a row per completion with the spans of its answer.
function timeAxis(group, chosen, clip, isImage, pick) {
  const ends = [...group.spans, ...group.rollouts.flatMap((rollout) => rollout.spans)].map((span) => span[1]);
  const length = (clip && clip.duration_s) || group.duration_s || Math.max(...group.spans.map((span) => span[1]), ...ends, 1);
  const place = (from, to) => {
    const [a, b] = [Math.min(from, to), Math.max(from, to)].map((time) => Math.min(Math.max(time / length, 0), 1) * 100);
    return `left:${a}%;width:${b - a}%`;
  };
  const rows = [];
  if (clip) rows.push(el("div", {class: "lane"}, el("span"), filmStrip(clip, group.spans, place, length)));
  if (!isImage) {
    const marks = ticks(0, length, 6).filter((tick) => tick > 0 && tick < length * 0.94);
    rows.push(el("div", {class: "lane"}, el("span"), el("div", {class: "axis"}, [0, ...marks, length].map((time) =>
      el("span", {style: `left:${time / length * 100}%`}, `${figure(time, 1)} s`)))));
  }
  if (group.spans.length) {
    rows.push(el("div", {class: "lane"}, el("span", null, "target"), el("div", {class: "track"},
      group.spans.map((span) => el("div", {class: "span true", title: `${span[0]} to ${span[1]} s`, style: place(...span)})))));
    group.rollouts.forEach((rollout, i) => rows.push(el("div", {class: "lane"}, el("span", {class: "number"}, figure(rollout.reward)),
      el("div", {class: rollout === chosen ? "track chosen" : "track"},
        rollout.spans.map((span) => el("div", {class: "span guess", title: `${span[0]} to ${span[1]} s`, style: place(...span)})),
        el("button", {"aria-label": `completion ${i + 1}`, onclick: () => pick(i)})))));
  }
  return el("div", null, rows);
}

// As many whole frames as there is room for, each from its own time to the next one's; a larger one under the pointer.
function filmStrip(clip, spans, place, length) {
  const number = clip.images.length, room = Math.min(document.documentElement.clientWidth, 1100) * 0.6;
  const stride = Math.ceil(number / Math.max(2, Math.floor(room / (66 * Math.min(clip.ratio, 1.7)))));
  const shown = clip.images.map((_, i) => i).filter((i) => i % stride === 0);
  const large = el("img", {class: "large", alt: "", hidden: true});
  const strip = el("div", {class: "strip", style: number === 1 ? `max-width:14rem;aspect-ratio:${clip.ratio}` : `aspect-ratio:${shown.length * clip.ratio}`},
    shown.map((frame, i) => el("img", {src: clip.images[frame], alt: `frame at ${figure(clip.times[frame], 2)} s`,
      style: number === 1 ? "width:100%" : place(clip.times[frame], i + 1 < shown.length ? clip.times[shown[i + 1]] : length)})),
    spans.map((span) => el("div", {class: "veil", style: place(...span)})));
  strip.addEventListener("pointermove", (event) => {
    const box = strip.getBoundingClientRect(), at = (event.clientX - box.left) / box.width;
    large.src = clip.images[Math.max(0, clip.times.findLastIndex((time) => time <= at * length))];
    large.hidden = number === 1;
    large.style.left = `${Math.max(0, Math.min(event.clientX - box.left - 80, box.width - 160))}px`;
  });
  strip.addEventListener("pointerleave", () => { large.hidden = true; });
  return el("div", {style: "position:relative"}, strip, large);
}

// The frame nearest to each box, with the target's box and that of the chosen completion.
function boxFrames(group, chosen, clip) {
  const last = clip.images.length - 1, number = group.boxes.length;
  const [from, to] = [clip.times[0], clip.times[last]];
  const nearest = (time) => clip.times.reduce((best, at, i) => (Math.abs(at - time) < Math.abs(clip.times[best] - time) ? i : best), 0);
  const box = (corners, ink, dash) => corners && svg("rect", {x: corners[0], y: corners[1], width: Math.max(0, corners[2] - corners[0]), height: Math.max(0, corners[3] - corners[1]),
    fill: "none", stroke: ink, "stroke-width": 2.5, "stroke-dasharray": dash, "vector-effect": "non-scaling-stroke"});
  return el("div", null,
    el("div", {class: "frames"}, group.boxes.map((corners, i) => {
      const frame = nearest(number > 1 ? from + (to - from) * i / (number - 1) : from);
      return el("div", null, el("div", {class: "frame"}, el("img", {src: clip.images[frame], alt: `frame at ${figure(clip.times[frame], 2)} s`}),
        svg("svg", {viewBox: "0 0 1 1", preserveAspectRatio: "none"}, box(corners, "var(--true)"), box(chosen.boxes[i], "var(--answer)", "5 3"))),
        el("span", {class: "soft small"}, `${figure(clip.times[frame], 1)} s`));
    })),
    el("p", {class: "soft small"}, el("span", {class: "key", style: "background:var(--true)"}), "target ",
      el("span", {class: "key", style: "background:var(--answer);margin-left:.6rem"}), "answer of the chosen completion; boxes are evenly spaced in time"));
}

function answerCard(rollout, isChosen, onclick) {
  const advantage = rollout.advantage;
  return el("div", {class: isChosen ? "answer chosen" : "answer", onclick},
    el("div", {class: "row"}, el("span", {class: "reward", title: "reward"}, figure(rollout.reward)),
      advantage === null ? el("span", {class: "pill"}, "not learned from")
        : el("span", {class: advantage > 0 ? "pill good" : advantage < 0 ? "pill bad" : "pill", title: "advantage"}, signed(advantage, 2)),
      el("span", {class: "soft small"}, count(rollout.num_tokens, "token")),
      [...new Set(faultsOf(rollout))].map((fault) => el("span", {class: "pill warn"}, words(fault)))),
    el("div", {class: "text"}, textParts(rollout.text, rollout.token_ratios || [])),
    rollout.problem && el("div", {class: "small bad"}, rollout.problem),
    rollout.scores.map((score) => el("div", {class: "score"}, el("span", {title: score.name}, words(score.name)),
      el("div", {class: "bar"}, el("i", {style: `width:${score.value * 100}%`})), el("span", {class: "number"}, figure(score.value)),
      score.note && el("span", {class: "note"}, score.note))),
    !rollout.scores.length && el("div", {class: "soft small"}, "not scored"));
}

// Tags faint, the thought fainter than the answer. ratios: [start, end, ratio] of tokens, in characters as Python counts.
function textParts(text, ratios) {
  let inside = "", end = 0;
  return text.split(/(<\/?[a-z_]+>)/i).map((part) => {
    const tag = part.match(/^<(\/?)([a-z_]+)>$/i), letters = [...part], start = end;
    const sort = tag || inside === "think" ? "thought" : inside ? "said" : "";
    end += letters.length;
    if (tag) inside = tag[1] ? "" : tag[2];
    return el("span", {class: sort}, shaded(letters, start, ratios));
  });
}

// The letters from place `first` on, with the tokens that learner and engine find of different probability.
function shaded(letters, first, ratios) {
  const cut = (from, to) => letters.slice(from - first, to - first).join(""), parts = [];
  let at = first;
  for (const [start, end, ratio] of ratios) {
    const [from, to] = [Math.max(start, at), Math.min(end, first + letters.length)];
    if (from >= to) continue;
    const much = 12 + 43 * Math.min(1, Math.abs(Math.log2(ratio)));
    parts.push(cut(at, from), el("i", {class: ratio > 1 ? "token likelier" : "token rarer", style: `--much:${much.toFixed(0)}%`,
      title: `${ratio} times as likely in the learner as in the engine`}, cut(from, to)));
    at = to;
  }
  return [...parts, cut(at, first + letters.length)];
}
