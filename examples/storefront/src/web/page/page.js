// What the cache does, once a second. `/live` counts since the beginning; what is shown as a rate is the difference
// of two of its answers, of which those of the last minute are kept.

const POLL_MS = 1_000;
const LATELY_MS = 10_000;
const CHART_MS = 60_000;
/** Who has not answered by then is away. */
const PATIENCE_MS = 5_000;

const states = [];
const $ = id => document.getElementById(id);

// What is asked, and what it is answered

async function poll() {
  let state;
  try {
    state = await ask("/live", { signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    tell("link", "away", "The service is away. This goes on when it is back.");
  }
  document.body.classList.toggle("off", !state);
  setTimeout(poll, POLL_MS);
  if (!state) return;
  tell("link", "well", "live");
  keep(state);
  show();
  if ($("keep-on").checked) keepOn();
}

/** The answer in JSON; what is none is thrown as what the service says is wrong. */
async function ask(path, options) {
  const answer = await fetch(path, options);
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  throw Object.assign(new Error(reason(text) || answer.statusText), { status: answer.status });
}

function reason(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return text;
  }
}

const post = (path, body) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

function keep(state) {
  // Who counts from the beginning again is another process.
  if (states.length && state.now_ms < states.at(-1).now_ms) states.length = 0;
  states.push(state);
  while (state.now_ms - states[0].now_ms > CHART_MS) states.shift();
}

// What is reckoned of it. What there is nothing to reckon of is null, and shown as a dash.

const share = (part, whole) => (whole > 0 ? part / whole : null);
const hits = counted => counted.memory + counted.redis + counted.stale;
const calls = counted => hits(counted) + counted.misses;

/** Of all functions together. */
function sum(state, of) {
  return state.functions.reduce((total, { counted }) => total + (counted ? of(counted) : 0), 0);
}

/** How much more there is of it now than a while ago, and in how many seconds. */
function grown(of, from, to) {
  return { by: of(to) - of(from), in: (to.now_ms - from.now_ms) / 1000 };
}

function perSecond(of, from, to) {
  const more = grown(of, from, to);
  return share(more.by, more.in);
}

// How it is written

const number = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 2 });

const whole = value => (value === null ? "–" : number.format(value));
const rate = value => (value !== null && value > 0 && value < 9.95 ? short.format(value) : whole(value));
/** All of it alone is 100 %. */
const percent = value => (value === null ? "–" : `${(Math.floor(value * 1000) / 10).toFixed(1)} %`);
const millis = value => `${short.format(value)} ms`;

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function tell(id, how, text) {
  $(id).dataset.is = how;
  put($(id), text);
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// What is shown

function show() {
  const now = states.at(-1);
  const before = states.at(-2) ?? now;
  showTiles(now);
  showChart(now);
  showFunctions(now, before);
  showRows("limits", now.limits, ["allowed", "denied"], "Nobody has tried to log in yet.");
  showRows("locks", now.locks, ["acquired", "waiters", "timed_out", "unavailable"], "Nobody has bought anything yet.");
  $("redis-controls").disabled = !now.redis.is_ours;
  const hint = now.cache === "memory" || now.cache === "off" ? "It is not used." : "It is not this service’s own.";
  put($("redis-hint"), now.redis.is_ours ? "" : `${hint} With --servers it would be.`);
}

const TIERS = {
  off: "nothing is cached",
  memory: "cached in memory",
  redis: "cached in Redis",
  both: "cached in memory and Redis",
};

function showTiles(now) {
  const from = states.find(state => now.now_ms - state.now_ms <= LATELY_MS + POLL_MS / 2);
  const requests = state => state.requests;
  const queries = state => state.queries.read;
  const found = grown(state => sum(state, hits), from, now);
  const asked = grown(state => sum(state, calls), from, now);

  put($("about"), `${now.database}, ${whole(now.products)} products, ${TIERS[now.cache]}`);
  put($("hit-rate"), percent(share(found.by, asked.by)));
  put($("hit-rate-of"), asked.by > 0 ? `of ${whole(asked.by)} look-ups in 10 s` : "no look-ups for 10 s");
  put($("requests"), rate(perSecond(requests, from, now)));
  put($("requests-total"), whole(now.requests));
  put($("queries"), rate(perSecond(queries, from, now)));
  const each = share(grown(queries, from, now).by, grown(requests, from, now).by);
  put($("queries-of"), each === null ? `${whole(queries(now))} since the start` : `${short.format(each)} for each request`);
  put($("spared"), whole(sum(now, hits)));
  put($("spared-of"), `of ${whole(sum(now, calls))} look-ups`);
  showRedis(now);
}

function showRedis({ cache, redis }) {
  const repairs = redis.pending_repairs;
  const without = cache === "redis" ? "the database is asked instead" : "memory goes on without it";
  const waiting = repairs ? `${whole(repairs)} invalidations wait for it` : without;
  if (cache === "memory" || cache === "off") {
    tell("redis", "unused", "not used");
    put($("redis-of"), "see --servers and --cache");
  } else if (redis.is_running === false) {
    tell("redis", "away", "stopped");
    put($("redis-of"), waiting);
  } else if (redis.breaker_is_open) {
    tell("redis", "troubled", "breaker open");
    put($("redis-of"), waiting);
  } else if (redis.connections === 0) {
    tell("redis", "unused", "not asked yet");
    put($("redis-of"), "");
  } else {
    tell("redis", "well", "connected");
    put($("redis-of"), `${whole(redis.commands)} commands`);
  }
}

function showChart(now) {
  const points = states.slice(1).map((state, before) => ({
    x: CHART_MS / 1000 - (now.now_ms - state.now_ms) / 1000,
    requests: perSecond(({ requests }) => requests, states[before], state) ?? 0,
    queries: perSecond(({ queries }) => queries.read, states[before], state) ?? 0,
  }));
  const top = roundedUp(Math.max(10, ...points.map(point => Math.max(point.requests, point.queries))));
  put($("chart-top"), `${whole(top)} /s`);
  for (const name of ["requests", "queries"]) {
    const at = points.map(point => `${point.x.toFixed(2)} ${(100 - (100 * point[name]) / top).toFixed(2)}`);
    const line = at.length ? `M${at.join("L")}` : "";
    $(`${name}-line`).setAttribute("d", line);
    $(`${name}-area`).setAttribute("d", line && `${line}V100H${points[0].x.toFixed(2)}Z`);
  }
}

/** To a number with one digit and zeros, or as good. */
function roundedUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(step => step * power).find(step => step >= value);
}

// The table of functions. Its rows are made once, and only what changes is written again.

const COLUMNS = ["memory", "redis", "stale", "misses", "runs", "running", "waiters", "refused", "errors"];

function showFunctions(now, before) {
  const names = now.functions.map(({ name }) => name).join();
  const [body, foot] = [$("functions").tBodies[0], $("functions").tFoot];
  if (body.dataset.of !== names) {
    body.dataset.of = names;
    body.replaceChildren(...now.functions.map(functionRow));
    foot.replaceChildren(element("tr", {}, element("th", { scope: "row" }, "all"), element("td"), ...cells()));
  }
  now.functions.forEach(({ is_cached, counted }, at) => {
    if (is_cached) showCounts(body.rows[at], counted, before.functions[at]?.counted);
  });
  showCounts(foot.rows[0], total(now), total(before));
}

function functionRow({ name, is_cached, policy, why }) {
  const head = element("th", { scope: "row" }, name, element("span", {}, policy));
  if (is_cached) return element("tr", {}, head, element("td", { className: "why" }, why), ...cells());
  const rest = element("td", { className: "why", colSpan: COLUMNS.length + 2 }, why);
  return element("tr", { className: "uncached" }, head, rest);
}

function cells() {
  const bar = element("div", { className: "bar" });
  bar.ariaHidden = "true";
  bar.append(...["memory", "remote", "stale"].map(className => element("i", { className })));
  const counts = COLUMNS.map(name => element("td", { className: name }));
  return [element("td", { className: "rate" }, element("span"), bar), ...counts];
}

const NOTHING = { memory: 0, redis: 0, stale: 0, misses: 0, runs: 0, background_runs: 0, running: 0, waiters: 0, refused: 0, errors: 0 };

function total(state) {
  const of = name => [name, sum(state, counted => counted[name])];
  return Object.fromEntries(Object.keys(NOTHING).map(of));
}

/** A function that was not called yet has no counts. */
function showCounts(row, counted, earlier) {
  counted ??= NOTHING;
  earlier ??= NOTHING;
  const [cell, ...counts] = [...row.cells].slice(2);
  const [text, bar] = cell.children;
  put(text, percent(share(hits(counted), calls(counted))));
  ["memory", "redis", "stale"].forEach((name, at) => {
    bar.children[at].style.width = `${100 * (share(counted[name], calls(counted)) ?? 0)}%`;
  });
  COLUMNS.forEach((name, at) => {
    const early = name === "runs" && counted.background_runs ? ` + ${whole(counted.background_runs)}` : "";
    put(counts[at], whole(counted[name]) + early);
    counts[at].classList.toggle("none", counted[name] === 0);
    counts[at].classList.toggle("moved", counted[name] > earlier[name]);
  });
}

function showRows(id, rows, columns, none) {
  const made = rows.map(row => {
    const counts = columns.map(name => element("td", { className: row[name] ? name : "none" }, whole(row[name])));
    return element("tr", {}, element("th", { scope: "row" }, row.name), ...counts);
  });
  const nothing = element("tr", {}, element("td", { className: "not", colSpan: columns.length + 1 }, none));
  $(id).tBodies[0].replaceChildren(...(made.length ? made : [nothing]));
}

// What can be done

function note(text, className = "") {
  const time = element("time", {}, new Date().toLocaleTimeString("en-GB"));
  $("log").append(element("li", { className }, time, element("span", {}, text)));
  if ($("log").children.length > 50) $("log").firstChild.remove();
  $("log").scrollTop = $("log").scrollHeight;
}

/** Notes what it did, or why it did not. */
async function attempt(what, did) {
  try {
    note(await did());
  } catch (error) {
    note(`${what}: ${error.message}`, "failed");
  }
}

function sent({ requests, failed, failed_checkouts, per_second, p50_ms, p99_ms }) {
  const times = `p50 ${millis(p50_ms)}, p99 ${millis(p99_ms)}`;
  const checkouts = failed_checkouts ? `, of which ${whole(failed_checkouts)} checkouts, whose lock is in Redis` : "";
  return `${whole(requests)} requests: ${whole(per_second)} per second, ${times}, ${whole(failed)} failed${checkouts}`;
}

$("send").onclick = () =>
  attempt("requests", async () => sent(await post("/live/requests", { count: 1_000 })));

let isSending = false;
async function keepOn() {
  if (isSending) return;
  isSending = true;
  try {
    const visit = await post("/live/requests", { count: 200 });
    if (visit.failed) note(sent(visit), "failed");
  } catch (error) {
    note(`requests: ${error.message}`, "failed");
  }
  isSending = false;
}

$("log-in").onclick = () =>
  attempt("log in", async () => {
    const guess = { email: "customer1@example.com", password: "a guess" };
    // At once, as the sixth within a minute is the one that is denied.
    const guesses = Array.from({ length: 6 }, () => post("/login", guess).catch(error => error));
    const said = {};
    for (const { message } of await Promise.all(guesses)) said[message] = (said[message] ?? 0) + 1;
    return Object.entries(said).map(([message, times]) => `${times} × “${message}”`).join(", ");
  });

const invalidate = what =>
  attempt("invalidate", async () => {
    const done = await post("/live/invalidate", what);
    return done.note ? `${done.did}: ${done.note}` : done.did;
  });

$("invalidate-key").onsubmit = event => {
  event.preventDefault();
  invalidate({ key: $("key").value });
};
$("invalidate-tag").onsubmit = event => {
  event.preventDefault();
  invalidate({ tag: $("tag").value });
};
$("invalidate-all").onclick = () => invalidate("all");

const BLOWS = { stop: "Redis is stopped", kill: "Redis is killed", hang: "Redis hangs", start: "Redis runs" };
for (const button of document.querySelectorAll("[data-redis]")) {
  const { redis } = button.dataset;
  button.onclick = () => attempt(redis, async () => (await post("/live/redis", redis), BLOWS[redis]));
}

poll();
