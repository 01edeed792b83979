// Shows what /.wirebound/me says, and keeps a WebSocket and an event stream open. No library, no build.
"use strict";

const byId = (id) => document.getElementById(id);
const moments = new Map();

function moment(value) {
  if (typeof value === "number") return value < 1e12 ? value * 1000 : value;
  return Date.parse(value);
}

function length(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const shown = [];
  let left = seconds;
  for (const [size, unit] of parts) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count > 0) shown.push(count + unit);
    if (shown.length === 2) break;
  }
  return shown.join(" ") || "0s";
}

const forms = {
  "wire.id": (value) => "wire " + value,
  "wire.resumed": (value) => (value ? "resumed" : "full handshake"),
  "wire.attached_by": (value) => String(value).replaceAll("_", " "),
};
const since = new Set(["wire.opened", "session.created"]);
const until = new Set(["session.idle_until", "session.absolute_until"]);

function show(me) {
  for (const place of document.querySelectorAll("[data-of]")) {
    const path = place.dataset.of;
    const value = path.split(".").reduce((at, name) => (at == null ? null : at[name]), me);
    if (value == null) {
      moments.delete(place);
      place.textContent = "-";
    } else if (since.has(path) || until.has(path)) {
      moments.set(place, [moment(value), since.has(path)]);
    } else {
      place.textContent = forms[path] ? forms[path](value) : String(value);
    }
  }
  tick();
}

function tick() {
  const now = Date.now();
  for (const [place, [at, past]] of moments) {
    place.textContent = past ? length(now - at) : "in " + length(at - now);
    place.title = new Date(at).toISOString();
  }
}

function trouble(text) {
  byId("trouble").textContent = text;
  byId("trouble").hidden = !text;
}

function lines(told) {
  const box = byId("told-lines");
  box.replaceChildren();
  for (const [name, value] of Object.entries(told)) {
    const label = document.createElement("b");
    label.textContent = name + ":";
    const text = document.createElement("i");
    text.textContent = value == null ? "(empty)" : value;
    box.append(label, text);
  }
}

async function look() {
  try {
    const [me, told] = await Promise.all([fetch("/.wirebound/me"), fetch("/members")]);
    if (!me.ok) throw new Error("the gateway answered " + me.status);
    const facts = await me.json();
    show(facts);
    if (told.ok) lines(await told.json());
    trouble(facts.session ? "" : "This session is over. Sign in again to go on.");
  } catch (error) {
    trouble("Wirebound cannot be asked right now: " + error.message);
  }
}

function beat(kind) {
  const box = byId(kind + "-beats");
  box.append(document.createElement("span"));
  while (box.children.length > 60) box.firstChild.remove();
}

function lamp(kind, state, text) {
  byId(kind + "-lamp").className = "lamp " + state;
  byId(kind + "-state").textContent = text;
}

let socket;
let pause = 1000;
function connect() {
  socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/chat");
  socket.onopen = () => { pause = 1000; lamp("ws", "on", "open, bound to this session"); };
  socket.onmessage = (event) => {
    const said = JSON.parse(event.data);
    if (said.beat) beat("ws");
    if (said.heard) lamp("ws", "on", "the app heard: " + said.heard);
  };
  socket.onclose = (event) => {
    // 4001: the session is over for good; asking again would only be refused again.
    if (event.code === 4001) return lamp("ws", "off", "closed with 4001: the session is over");
    lamp("ws", "off", "closed (" + event.code + "), trying again");
    setTimeout(connect, pause);
    pause = Math.min(pause * 2, 15000);
  };
}

function follow() {
  const source = new EventSource("/ticker");
  source.onopen = () => lamp("sse", "on", "open, bound to this session");
  source.onmessage = () => beat("sse");
  source.onerror = () => lamp("sse", "off", source.readyState === EventSource.CLOSED ? "refused: the session is over" : "cut, trying again");
}

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = byId("words");
  if (words.value && socket.readyState === WebSocket.OPEN) socket.send(words.value);
  words.value = "";
});

const command = ["curl -k -sS -L -c /dev/null -b '__Host-wirebound=", "COOKIE", "' -w '\\n%{http_code}\\n' " + location.origin + "/members"];
const placeholder = document.createElement("b");
placeholder.textContent = command[1];
byId("command").replaceChildren(command[0], placeholder, command[2]);
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(command.join(""));
  byId("copy").textContent = "Copied";
});

byId("ask").addEventListener("click", async () => {
  const answer = await fetch("/members");
  const told = answer.ok ? await answer.json() : {};
  byId("answer").className = answer.ok ? "good" : "bad";
  byId("answer").textContent = answer.status + " " + (told["Wirebound-Subject"] || answer.headers.get("Wirebound-Reason") || "");
});

look();
connect();
follow();
setInterval(tick, 1000);
setInterval(look, 10000);
