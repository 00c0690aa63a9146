/* Flywheel's script for pages: page views, clicks and form submits, as events in Segment's words.
 *
 *   <script src="/fw.js" async data-write-key="shop"></script>
 *
 *   data-endpoint          origin that takes the events; the one that served this script if empty
 *   data-consent           "required": without consent nothing is sent or stored
 *   data-consent-cookie    the cookie that holds the visitor's answer (fw_consent)
 *   data-consent-granted   its values that say yes (granted), with commas between
 *   data-consent-domain    where the answer holds, such as shop.example for all hosts below it
 *   data-pages="off"       no automatic page views
 *
 * <button data-fw-event="Coupon Claimed" data-fw-coupon-id="8"> is a click with {coupon_id: "8"};
 * data-fw-properties='{"price": 12.5}' gives values that are no text. The same on a <form> counts its submits;
 * what was typed into it is never read.
 *
 * (window.flywheel = window.flywheel || []).push(["track", "Order Completed", {order_id: "o-1", revenue: 99}])
 * works before and after this script has come; so do page, identify, reset, consent ("granted" or "denied") and flush.
 */
(() => {
  "use strict";
  const script = document.currentScript || document.querySelector("script[data-write-key]");
  const early = window.flywheel;
  if (!script || (early && early.version)) return;

  const VERSION = "1";
  // Browsers give all requests that outlive the page 64 KiB together.
  const BATCH_BYTES = 60000;
  const BATCH_EVENTS = 100;
  const EVENT_BYTES = 32768;
  const FULL_ENOUGH = 20;
  const QUEUE_LENGTH = 1000000;
  const STORED_LENGTH = 250000;
  const WAIT = 3000;
  const LONGEST_WAIT = 60000;
  const TIMEOUT = 10000;
  const YEAR = 31536000;

  const settings = script.dataset;
  const consentCookie = settings.consentCookie || "fw_consent";
  const granted = (settings.consentGranted || "granted").split(",").map((value) => value.trim());

  let endpoint;
  let queue = [];
  let sending = null;
  let failures = 0;
  let notBefore = 0;
  let due = Infinity;
  let timer;
  let answer = "";
  let viewed = "";
  let viewedUrl = "";
  let referrer = document.referrer;
  let campaign;
  const memory = {};

  const warn = (...words) => console.warn("flywheel:", ...words);

  // The page must never notice a fault of ours.
  const safely = (work) => (...values) => {
    try {
      work(...values);
    } catch (problem) {
      warn(problem);
    }
  };

  /* ---- consent ---- */

  function said() {
    try {
      const found = document.cookie.split("; ").find((pair) => pair.startsWith(consentCookie + "="));
      if (found || navigator.cookieEnabled) return found ? found.slice(consentCookie.length + 1) : "";
    } catch {
      // A sandboxed frame has no cookies.
    }
    return answer;
  }

  function allowed() {
    const word = said();
    return word ? granted.includes(word) : settings.consent !== "required";
  }

  function consent(state) {
    answer = state === "granted" ? granted[0] : "denied";
    const domain = settings.consentDomain ? "; domain=" + settings.consentDomain : "";
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `${consentCookie}=${answer}; path=/; max-age=${YEAR}; samesite=lax${domain}${secure}`;
    if (allowed()) viewPage();
    else forgetEverything();
  }

  function forgetEverything() {
    forgetPerson();
    write("fw_queue", null);
    queue = [];
  }

  /* ---- what outlives the page; a browser that refuses storage gets by with memory ---- */

  function read(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return memory[key] || null;
    }
  }

  function write(key, value) {
    memory[key] = value;
    try {
      if (value === null) localStorage.removeItem(key);
      else localStorage.setItem(key, value);
    } catch {
      // Full or refused.
    }
  }

  function forgetPerson() {
    write("fw_anonymous", null);
    write("fw_user", null);
  }

  function anonymousId() {
    // The visitor's cookie is for the server alone and comes first there; this stands in where it cannot be had.
    let id = read("fw_anonymous");
    if (!id) write("fw_anonymous", (id = unique()));
    return id;
  }

  function unique() {
    // Pages without TLS have no randomUUID.
    if (crypto.randomUUID) return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function stored() {
    try {
      return JSON.parse(read("fw_queue")).filter((text) => typeof text === "string");
    } catch {
      return [];
    }
  }

  function store(events) {
    if (!events.length || !allowed()) return;
    const all = [...new Set([...stored(), ...events])];
    write("fw_queue", JSON.stringify(newest(all, STORED_LENGTH)));
  }

  function unstore(events) {
    const kept = stored();
    const left = kept.filter((text) => !events.includes(text));
    if (left.length < kept.length) write("fw_queue", left.length ? JSON.stringify(left) : null);
  }

  function restore() {
    // They stay stored until the server has them, as this page may end before. Two tabs may both send them; the server
    // knows a message that it has by its id.
    if (!allowed()) return;
    const known = [...queue, ...(sending || [])];
    const kept = stored().filter((text) => !known.includes(text));
    queue = newest([...kept, ...queue], QUEUE_LENGTH);
    if (queue.length) schedule(patience());
  }

  function newest(events, limit) {
    let start = events.length;
    for (let length = 0; start > 0; start--) {
      length += events[start - 1].length;
      if (length > limit) break;
    }
    return events.slice(start);
  }

  const size = (text) => new Blob([text]).size;

  /* ---- events ---- */

  function context() {
    const query = new URLSearchParams(location.search);
    const marks = {};
    for (const key of ["source", "medium", "campaign", "content", "term", "id"]) {
      const value = query.get("utm_" + key);
      if (value) marks[key === "campaign" ? "name" : key] = value;
    }
    // Pages that change their address without a load lose the marks with which the visitor came.
    if (Object.keys(marks).length) campaign = marks;
    return {
      page: page(),
      campaign,
      locale: navigator.language,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      screen: { width: screen.width, height: screen.height, density: devicePixelRatio },
      library: { name: "fw.js", version: VERSION },
      // The cookie with the answer does not go to an endpoint of another site.
      consent: said() ? { categoryPreferences: { Analytics: true } } : undefined,
    };
  }

  const page = () => ({
    url: location.href,
    path: location.pathname,
    search: location.search,
    referrer,
    title: document.title,
  });

  function add(type, fields) {
    if (!allowed()) return;
    const event = {
      ...fields,
      type,
      messageId: unique(),
      timestamp: new Date().toISOString(),
      anonymousId: anonymousId(),
      userId: read("fw_user") || undefined,
      context: context(),
    };
    const text = JSON.stringify(event);
    if (size(text) > EVENT_BYTES) {
      warn("an event of more than 32 KB is not sent:", type, fields.event || fields.name || "");
      return;
    }
    queue = newest([...queue, text], QUEUE_LENGTH);
    // Without a way to the server the page may be closed for good before there is one.
    if (failures || !navigator.onLine) store([text]);
    schedule(patience());
  }

  function track(event, properties) {
    if (event) add("track", { event: String(event), properties });
    else warn("track needs the name of the event");
  }

  function view(name, properties) {
    if (!allowed()) return;
    if (name && typeof name === "object") [name, properties] = [undefined, name];
    if (viewedUrl && viewedUrl !== location.href) referrer = viewedUrl;
    viewedUrl = location.href;
    viewed = address();
    add("page", { name, properties: { ...page(), ...properties } });
  }

  function identify(user, traits) {
    if (!allowed()) return;
    if (user && typeof user === "object") [user, traits] = [undefined, user];
    if (user !== undefined && user !== null) write("fw_user", String(user));
    add("identify", { traits });
  }

  // A fragment is a page of its own only where a router made it.
  const address = () => location.pathname + location.search + (/^#[!/]/.test(location.hash) ? location.hash : "");

  function viewPage() {
    if (settings.pages !== "off" && !document.prerendering && viewed !== address()) view();
  }

  function properties(element) {
    const found = {};
    for (const { name, value } of element.attributes) {
      if (/^data-fw-(?!event$|properties$)./.test(name)) found[name.slice(8).replace(/-/g, "_")] = value;
    }
    const typed = element.getAttribute("data-fw-properties");
    return typed ? { ...found, ...JSON.parse(typed) } : found;
  }

  function acted(happening, selector) {
    // The first of the path is the element inside a web component that the target hides.
    const from = happening.composedPath()[0];
    const element = from && (from.closest ? from : from.parentElement)?.closest(selector);
    if (element) add("track", { event: element.getAttribute("data-fw-event"), properties: properties(element) });
  }

  /* ---- sending ---- */

  function take() {
    let count = 0;
    // What encloses the events takes its share.
    let bytes = 500;
    while (count < queue.length && count < BATCH_EVENTS) {
      bytes += size(queue[count]) + 1;
      if (count && bytes > BATCH_BYTES) break;
      count++;
    }
    return queue.splice(0, count);
  }

  const body = (events) =>
    `{"writeKey":${JSON.stringify(settings.writeKey || "")},"sentAt":"${new Date().toISOString()}","batch":[${events}]}`;

  // Text needs no question to another origin beforehand.
  async function post(events) {
    const response = await fetch(endpoint, {
      method: "POST",
      body: body(events),
      headers: { "Content-Type": "text/plain" },
      credentials: "include",
      keepalive: true,
      signal: AbortSignal.timeout && AbortSignal.timeout(TIMEOUT),
    });
    // An answer that nobody read keeps its share of the 64 KiB.
    await response.text();
    return response;
  }

  // Counted from the start of the page, as the clock of the machine may jump.
  const now = () => performance.now();

  function patience() {
    const length = queue.reduce((sum, text) => sum + text.length, 0);
    return queue.length < FULL_ENOUGH && length < BATCH_BYTES / 2 ? WAIT : 0;
  }

  function schedule(wait) {
    const at = Math.max(now() + wait, notBefore);
    if (at >= due) return;
    due = at;
    clearTimeout(timer);
    timer = setTimeout(safely(flush), at - now());
  }

  function flush() {
    due = Infinity;
    clearTimeout(timer);
    if (sending || !queue.length || !allowed()) return;
    if (now() < notBefore) {
      schedule(0);
      return;
    }
    const events = take();
    sending = events;
    post(events)
      .then(
        (response) => answered(response, events),
        () => again(events, 0),
      )
      .catch(warn)
      .finally(() => {
        sending = null;
        unstore(events.filter((text) => !queue.includes(text)));
        if (queue.length) schedule(failures ? 0 : patience());
      });
  }

  function answered(response, events) {
    const { status } = response;
    if (status === 408 || status === 429 || status >= 500) {
      again(events, Number(response.headers.get("Retry-After")) * 1000 || 0);
      return;
    }
    failures = 0;
    notBefore = 0;
    // Everything else would be refused again.
    if (!response.ok) warn(`${events.length} events were refused with status ${status}`);
  }

  function again(events, wish) {
    failures++;
    const most = Math.min(LONGEST_WAIT, 1000 * 2 ** failures);
    notBefore = now() + Math.max(Math.min(wish, LONGEST_WAIT), most * (0.5 + Math.random() / 2));
    if (allowed()) queue = newest([...events, ...queue], QUEUE_LENGTH);
    store(events);
  }

  function leave() {
    viewPage();
    // What is under way may fail after nobody is left to try again. Sent twice is counted once.
    if (sending) store(sending);
    if (!allowed()) return;
    while (queue.length) {
      const events = take();
      if (failures || !navigator.onLine) store(events);
      if (navigator.onLine && !handOver(events)) {
        store(events);
        post(events).then((response) => response.ok && unstore(events), () => {});
      }
    }
  }

  function handOver(events) {
    try {
      return navigator.sendBeacon(endpoint, new Blob([body(events)], { type: "text/plain" }));
    } catch {
      return false;
    }
  }

  /* ---- the page's moments. No listener for unload: with one, browsers do not keep a page for the way back. ---- */

  function listen(target, name, work) {
    target.addEventListener(name, safely(work), true);
  }

  function listenToAll() {
    listen(document, "click", (happening) => acted(happening, "[data-fw-event]:not(form)"));
    listen(document, "auxclick", (happening) => happening.button === 1 && acted(happening, "[data-fw-event]:not(form)"));
    listen(document, "submit", (happening) => acted(happening, "form[data-fw-event]"));
    listen(document, "visibilitychange", () => (document.visibilityState === "hidden" ? leave() : restore()));
    listen(window, "pagehide", leave);
    listen(window, "pageshow", (happening) => {
      if (!happening.persisted) return;
      viewed = "";
      restore();
      viewPage();
    });
    listen(window, "online", () => {
      notBefore = 0;
      restore();
      flush();
    });
    listen(document, "prerenderingchange", viewPage);
    listen(window, "popstate", () => setTimeout(safely(viewPage)));
    listen(window, "hashchange", viewPage);
    for (const name of ["pushState", "replaceState"]) {
      const original = history[name];
      history[name] = function (...values) {
        const result = original.apply(this, values);
        // Routers set the title afterwards.
        setTimeout(safely(viewPage));
        return result;
      };
    }
  }

  const api = {
    version: VERSION,
    track: safely(track),
    page: safely(view),
    identify: safely(identify),
    reset: safely(forgetPerson),
    consent: safely(consent),
    flush: safely(flush),
    push: (...calls) => calls.forEach(safely(([name, ...values]) => api[name](...values))),
  };

  safely(() => {
    endpoint = new URL("/v1/b", settings.endpoint || script.src || location.href).href;
    if (!settings.writeKey) warn("the script has no data-write-key, so no event will be taken");
    window.flywheel = api;
    listenToAll();
    if (said() && !allowed()) forgetEverything();
    restore();
    if (Array.isArray(early)) api.push(...early);
    if (document.readyState === "loading" && !document.title) listen(document, "DOMContentLoaded", viewPage);
    else viewPage();
  })();
})();
