"use strict";
// Goes on to change the texts that the server put here: all wording is the server's.
(() => {
  const LONGEST_PAUSE = 60, TIMEOUT = 10, FORGOTTEN_AFTER = 12, NAMED = 20, LISTED = 50, TOLD_AT_ONCE = 3;
  const URGENT = ["warn", "bad"];
  const main = document.querySelector("main");
  const rows = document.querySelector("tbody");
  const list = document.getElementById("events");
  const live = document.getElementById("live");
  const news = document.getElementById("news");
  const button = document.getElementById("pause");
  const section = document.getElementById("processes");
  const blank = document.getElementById("blank").content.querySelector("tr");
  const every = Number(main.dataset.every);
  // With its origin: of a page that was opened with a password in its address, `fetch` takes no relative one.
  const address = `${location.origin}${location.pathname.replace(/\/+$/, "")}/data`;
  // By instance: its last answer, the events so far, and which of all answers that was.
  const heard = new Map();
  let shown = null;
  let answers = 0, failures = 0, timer = 0, asking = false, paused = false;

  const put = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  function say(state, text) {
    live.dataset.live = state;
    put(live, text);
  }

  function tell(texts) {
    const more = texts.length - TOLD_AT_ONCE;
    const told = texts.slice(0, TOLD_AT_ONCE).concat(more > 0 ? [`and ${more} more changes`] : []);
    if (told.length) news.textContent = told.join(". ") + ".";
  }

  // -- asking ------------------------------------------------------------------------------

  function plan(seconds) {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(ask, seconds * 1000);
  }

  async function ask() {
    if (asking) return;
    asking = true;
    clearTimeout(timer);
    try {
      take(await answer());
      failures = 0;
      if (!paused) say("on", "Live");
    } catch (error) {
      failures += 1;
      if (!paused) say("lost", error.refused ? "No longer allowed: reload to sign in" : "Connection lost, trying again");
    } finally {
      asking = false;
      const pause = Math.min(LONGEST_PAUSE, every * 2 ** Math.min(failures, 10));
      plan(pause * (failures ? 0.75 + Math.random() / 2 : 1));
    }
  }

  async function answer() {
    const query = new URLSearchParams({ shown: "1" });
    // Of the last ones only: gunicorn reads no more than 4094 bytes. Any other tells all its events again.
    const latest = [...heard].sort(([, one], [, other]) => other.at - one.at).slice(0, NAMED);
    for (const [instance, process] of latest) {
      query.append("instance", instance);
      query.append("after", process.seq);
    }
    const response = await fetch(`${address}?${query}`, {
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT * 1000),
    });
    if (!response.ok) {
      throw Object.assign(new Error(), { refused: [401, 403, 404].includes(response.status) });
    }
    return response.json();
  }

  // -- what was heard ----------------------------------------------------------------------

  function take(document_) {
    const { instance, pid } = document_.process;
    const before = heard.get(instance);
    const known = before ? before.seq : 0;
    const later = document_.shown.events.filter(({ seq }) => seq > known);
    const events = (before ? before.events : []).concat(later).slice(-LISTED);
    const process = { pid, seq: document_.seq, shown: document_.shown, events, at: (answers += 1) };
    heard.set(instance, process);
    // Counted in answers, and not in seconds, in which a hidden page asks for none: each of n processes gives
    // one in n of them.
    for (const [other, { at }] of heard) {
      if (answers - at > FORGOTTEN_AFTER * heard.size) heard.delete(other);
    }
    if (!heard.has(shown)) {
      if (shown) tell([`Another process answers now: ${process.shown.fields.process}`]);
      shown = instance;
      draw(process);
    } else if (instance === shown) {
      tell(before ? changes(before.shown.secrets, process.shown.secrets) : []);
      draw(process);
    }
    drawProcesses();
  }

  // A version, and whether somebody should look: not each of the states between which a quiet secret goes.
  function changes(before, after) {
    const known = new Map(before.map((secret) => [secret.name, secret]));
    return after.flatMap((secret) => {
      const old = known.get(secret.name);
      if (!old) return [];
      const texts = [];
      if (old.version !== secret.version) texts.push(`${secret.name}: version ${secret.version}`);
      if (URGENT.includes(old.tone) !== URGENT.includes(secret.tone)) texts.push(`${secret.name}: ${secret.state}`);
      return texts;
    });
  }

  // -- showing -----------------------------------------------------------------------------

  function draw(process) {
    const { fields, secrets } = process.shown;
    for (const element of document.querySelectorAll("[data-of]")) {
      if (element.dataset.of in fields && !rows.contains(element)) put(element, fields[element.dataset.of]);
    }
    document.querySelector(".summary").dataset.tone = fields.tone;
    document.title = `${fields.container}: secrets`;
    drawSecrets(secrets);
    drawEvents(process.events);
  }

  function drawSecrets(secrets) {
    const names = [...rows.rows].map((row) => row.querySelector("[data-of=name]").textContent);
    const isNew = names.join("\n") !== secrets.map(({ name }) => name).join("\n");
    if (isNew) rows.replaceChildren(...secrets.map(() => document.importNode(blank, true)));
    secrets.forEach((secret, index) => {
      const row = rows.rows[index];
      row.dataset.tone = secret.tone;
      for (const element of row.querySelectorAll("[data-of]")) {
        const field = element.dataset.of, text = secret[field];
        if (!isNew && ["state", "version"].includes(field) && element.textContent !== text) mark(element);
        put(element, text);
      }
    });
  }

  function mark(element) {
    element.classList.add("changed");
    element.addEventListener("animationend", () => element.classList.remove("changed"), { once: true });
  }

  function drawEvents(events) {
    const newest = list.firstElementChild;
    const last = events.at(-1);
    if (newest && last && newest.dataset.seq === String(last.seq)) return;
    list.replaceChildren(...events.toReversed().map(drawEvent));
  }

  function drawEvent(event) {
    const item = document.createElement("li");
    item.dataset.level = event.level;
    item.dataset.seq = event.seq;
    const time = document.createElement("time");
    time.dateTime = event.at;
    time.textContent = event.time;
    const [level, text] = ["level", "text"].map((name) => {
      const span = document.createElement("span");
      span.className = name;
      span.textContent = event[name];
      return span;
    });
    item.append(time, " ", level, " ", text);
    return item;
  }

  function drawProcesses() {
    section.hidden = heard.size < 2;
    const choices = section.querySelector("ul");
    for (const choice of choices.querySelectorAll("button")) {
      if (!heard.has(choice.value)) choice.parentElement.remove();
    }
    for (const [instance, process] of heard) {
      const choice = [...choices.querySelectorAll("button")].find(({ value }) => value === instance) || makeChoice(instance, choices);
      put(choice, `${process.shown.fields.process}: ${comparison(instance, process)}`);
      choice.setAttribute("aria-pressed", String(instance === shown));
    }
  }

  function makeChoice(instance, choices) {
    const item = document.createElement("li"), choice = document.createElement("button");
    choice.type = "button";
    choice.value = instance;
    choice.addEventListener("click", () => {
      shown = instance;
      draw(heard.get(instance));
      drawProcesses();
    });
    item.append(choice);
    choices.append(item);
    return choice;
  }

  function comparison(instance, process) {
    if (instance === shown) return "shown";
    const versions = new Map(heard.get(shown).shown.secrets.map(({ name, version }) => [name, version]));
    const others = process.shown.secrets.filter(({ name, version }) => versions.get(name) !== version);
    return others.map(({ name, version }) => `${name} ${version}`).join(", ") || "same versions";
  }

  // -- the reader --------------------------------------------------------------------------

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    put(button, paused ? "Go on" : "Pause");
    clearTimeout(timer);
    if (paused) say("off", "Paused");
    else ask();
  });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && !paused) ask();
  });
  ask();
})();
