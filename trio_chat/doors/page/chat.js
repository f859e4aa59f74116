"use strict";

// The page of trio_chat. No framework, no build step, no markup made of what others wrote:
// every text goes into a text node. From top to bottom, each made of what stands above it:
//
//   texts      what others wrote → what an eye may see
//   kept       what the browser remembers from one visit to the next
//   Link       one connection after the other, over a WebSocket
//   Room       what is known of a room; knows nothing of the page
//   Attention  what calls, and what is not to be heard of
//   Chat       the conversation: requests, resume, what is pending
//   Tabs       of which one talks
//   Show       the page
//   Composer, Completions, Finder, Menu, Settings, Account, Hands: what a person does to it

// ---------------------------------------------------------------- texts

// What is asked of a text or a name alone.

// As in client/clean.py: no controls, nothing that turns the direction of writing, no private
// or unassigned characters. A joiner between two emoji makes one of them, and stays.
const REFUSED = new RegExp(
  "((?<=[\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\uFE0F])\\u200D(?=\\p{Extended_Pictographic}))" +
  "|(?![\\n\\t])[\\p{C}\\p{Zl}\\p{Zp}]", "gu");
const INVISIBLE = /[\u3164\u115f\u1160\uffa0\u2800\u034f\u17b4\u17b5\u180b-\u180d\u180f]/gu;
const PILE = /(\p{M}{4})\p{M}+/gu;

function clean(text) {
  if (/^[\n\t -~]*$/.test(text)) return text;
  return text
    .replaceAll("\r\n", "\n")
    .replace(REFUSED, (found, joiner) => joiner ?? "\ufffd")
    .replace(INVISIBLE, "·")
    .replace(PILE, "$1");
}

function oneLine(text) {
  return clean(text).replace(/\s+/g, " ").trim();
}

// A name calls where no letter, digit, _ or - touches it. Texts of East Asia have no spaces,
// so there it calls wherever it stands.
const UNSPACED = /[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff]/u;
const PART = "[\\p{L}\\p{N}\\p{M}_-]";

function wordPattern(word) {
  const plain = word.normalize("NFC").replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return UNSPACED.test(word) ? plain : `(?<!${PART})${plain}(?!${PART})`;
}

function mentions(text, words) {
  if (!words.length) return false;
  return new RegExp(words.map(wordPattern).join("|"), "iu").test(text.normalize("NFC"));
}

function colourOf(name) {
  let hash = 2166136261; // FNV-1a
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0), 16777619) >>> 0;
  return `c${((hash ^ hash >>> 13) >>> 0) % 12}`;
}

// Near enough to how the server folds names. That of a private room is as the server wrote it.
const fold = name => name.includes(",") ? name : name.trim().normalize("NFC").toLowerCase();

const bytesOf = text => new TextEncoder().encode(text).length;

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
}

// ---------------------------------------------------------------- kept

// Of the browser: `theme`, `notify`, the `name` that came in last and, as long as it may come in
// again without a word, its token in `me`. Of each name: `rooms:NAME` that it is in, `open:NAME`,
// the `drafts:NAME` of all rooms, `pending:NAME` and `attention:NAME`.

const kept = {
  spare: new Map(), // what can't be stored lasts as long as the page

  get(key, otherwise) {
    if (this.spare.has(key)) return this.spare.get(key);
    try {
      return JSON.parse(localStorage.getItem(`trio_chat:${key}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`trio_chat:${key}`, JSON.stringify(value));
      this.spare.delete(key);
    } catch { // forbidden, or full
      this.spare.set(key, value);
    }
  },
  drop(key) {
    this.spare.delete(key);
    try {
      localStorage.removeItem(`trio_chat:${key}`);
    } catch { /* as above */ }
  },
};

// A browser claims to be all those that came before it, so the first that is found counts.
const BROWSERS = { "Edg": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari" };
const SYSTEMS = {
  "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS": "a Mac", "CrOS": "ChromeOS",
  "Linux": "Linux",
};

function nameIn(agent, names) {
  return Object.entries(names).find(([sign]) => agent.includes(sign))?.[1] ?? "something else";
}

// What lets a name in that was here before, on this browser.
function tokenOf(typed) {
  const me = kept.get("me", null);
  return me?.name === fold(typed) ? { token: me.token, epoch: me.epoch } : {};
}

// ---------------------------------------------------------------- the link

const PING_EVERY = 15;
const SILENCE = 45; // seconds without a word after which the server counts as lost
const BACKOFF = [0.3, 10]; // seconds before the first and before later attempts
const TAKEN_OVER = 4000; // what a connection is closed with to which one should not come back
const PUT_OUT = 4001;

// One connection after the other, from `enter` to `close`. It knows of no message but the ping:
// whatever else comes goes to `events`.
class Link {
  constructor(events) {
    this.events = events; // opened(), heard(message), closed(code)
    this.socket = null;
    this.isWanted = false;
    this.retryAt = 0;
    this.attempts = 0;
  }

  // Begin, at once.
  enter() {
    this.attempts = 0;
    this.open();
  }

  open() {
    this.isWanted = true;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`);
    this.socket = socket;
    this.heardAt = this.saidAt = now();
    socket.onopen = () => this.events.opened();
    socket.onmessage = message => this.#hear(socket, message.data);
    socket.onclose = ({ code }) => this.#end(socket, code);
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  send(message) {
    if (!this.isOpen) return false;
    this.socket.send(JSON.stringify(message));
    this.saidAt = now();
    return true;
  }

  close() {
    this.isWanted = false;
    this.socket?.close(1000);
  }

  // Who pings means to stay: its name and its rooms are kept for a while, from now on.
  greeted() {
    this.attempts = 0;
    this.send({ type: "ping" });
  }

  retry(seconds) {
    this.retryAt = now() + seconds;
  }

  // Called every second.
  tick() {
    if (!this.socket) {
      if (this.isWanted && now() >= this.retryAt) this.open();
      return;
    }
    if (now() - this.heardAt > SILENCE) {
      const silent = this.socket;
      silent.close();
      this.#end(silent); // its own end may take a minute to come
    } else if (this.isOpen && now() - this.saidAt >= PING_EVERY) {
      this.send({ type: "ping" });
    }
  }

  #hear(socket, data) {
    if (socket !== this.socket) return;
    this.heardAt = now();
    this.events.heard(JSON.parse(data));
  }

  #end(socket, code) {
    if (socket !== this.socket) return;
    this.socket = null;
    const [first, most] = BACKOFF;
    const pause = Math.min(most, first * 2 ** this.attempts) * (0.5 + Math.random());
    this.retryAt = Math.max(this.retryAt, now() + pause); // the server may have named a later time
    this.attempts += 1;
    this.events.closed(code);
  }
}

const now = () => performance.now() / 1000;

// ---------------------------------------------------------------- a room

const PAGE = 100; // events of a page of history
const MOST = 3000; // what is shown of a room before the oldest is let go of
const KEPT = 1000; // and what is left of it then
const RUN = 100; // people who come and go in one line

// What is known of one room, as items in the order in which they are shown: each is a say, a
// notice, people who came and went, or a gap. A say changes with what is done to it later.
class Room {
  constructor(name, me) {
    this.name = name;
    this.other = partner(name, me);
    this.items = []; // what is shown, in order: says and notices
    this.says = new Map(); // seq → say
    this.signs = new Map(); // seq → sign → name → the newest word about it
    this.members = new Map(); // name → rank
    this.topic = "";
    this.first = 0; // the oldest event that is here, 0 if there is none
    this.last = 0; // the newest
    this.hasOlder = true;
    this.read = 0; // up to where the person has read
    this.unread = 0;
    this.calls = 0;
    this.newAfter = null; // where the line "new" stands
    this.isIn = false;
    this.inSince = 0; // the newest event when one was let in
    this.isWanted = false; // by the person: to be in it, also after the next visit
  }

  get isPrivate() {
    return this.name.startsWith("@");
  }

  // Nothing was said to that person yet; with the first word it gets its full name.
  get isPromised() {
    return this.isPrivate && !this.name.includes(",");
  }

  get title() {
    return this.isPrivate ? this.other ?? this.name.slice(1) : this.name;
  }

  // As one types it.
  get short() {
    return this.isPrivate ? `@${this.title}` : this.name;
  }

  // The newest events, in the order in which they come. Returns what is to be shown anew.
  take(event) {
    if (event.seq <= this.last) return [];
    this.first ||= event.seq;
    this.last = event.seq;
    this.#follow(event);
    return this.#apply(event, this.items);
  }

  // Who is here, and what about. An old page says nothing of that.
  #follow({ by, message }) {
    const { type, name, text, rank } = message;
    if (type === "join") this.members.set(by, this.members.get(by) ?? "");
    else if (type === "leave") this.members.delete(by);
    else if (isPutOut(message, name)) this.members.delete(name);
    else if (type === "appoint" && this.members.has(name)) this.members.set(name, rank === "member" ? "" : "moderator");
    else if (type === "topic") this.topic = text;
  }

  // A page of what came before all that is here.
  takeOlder(page) {
    const items = [];
    const first = page.gap ? page.gap.last + 1 : 0;
    if (page.gap) items.push(gapItem(page.gap));
    for (const event of page.events) this.#apply(event, items);
    this.items.unshift(...items);
    this.first = page.events[0]?.seq ?? (first || this.first);
    this.last ||= page.events.at(-1)?.seq ?? 0;
    this.hasOlder = page.more;
    return items;
  }

  takeGap(gap) {
    const item = gapItem(gap);
    this.items.push(item);
    this.first ||= gap.first;
    this.last = gap.last;
    return [item];
  }

  // The oldest are let go of: a page may stay open for months. Scrolling up brings them back.
  trim() {
    this.items = this.items.slice(-KEPT);
    this.first = this.items[0].seq;
    this.hasOlder = true;
    this.says = new Map(this.items.filter(item => item.kind === "say").map(item => [item.seq, item]));
  }

  // Who is not here any more may come back to another history.
  forget() {
    const { other, isIn, isWanted, topic } = this;
    Object.assign(this, new Room(this.name, null), { other, isIn, isWanted, topic });
  }

  #apply(event, items) {
    const { message } = event;
    const change = this[`_${message.type}`];
    if (change) return change.call(this, event, message, items);
    const notice = NOTICES[message.type]?.(event, message);
    if (!notice) return [];
    const item = { kind: "notice", seq: event.seq, at: event.at, by: event.by, ...notice };
    items.push(item);
    return [item];
  }

  _say(event, message, items) {
    const item = {
      kind: "say", seq: event.seq, at: event.at, by: event.by, text: message.text,
      id: message.id, replyTo: message.reply_to,
      isGone: event.changed !== undefined && message.text === "",
      isEdited: event.changed !== undefined,
    };
    this.says.set(item.seq, item);
    items.push(item);
    return [item];
  }

  _edit(event, message) {
    const item = this.says.get(message.seq);
    if (!item || event.changed !== undefined || item.isGone) return [];
    Object.assign(item, { text: message.text, isEdited: true });
    return [item];
  }

  _delete(event, message) {
    const item = this.says.get(message.seq);
    if (!item) return [];
    Object.assign(item, { text: "", isGone: true });
    return [item];
  }

  // What was earlier may come later, so the newest word counts.
  _react({ seq, by }, message) {
    const signs = within(this.signs, message.seq, () => new Map());
    const names = within(signs, message.sign, () => new Map());
    if (seq > (names.get(by)?.seq ?? 0)) names.set(by, { seq, isOn: !message.off });
    const item = this.says.get(message.seq);
    return item ? [item] : [];
  }

  // The signs at a text, each with those who have put it there.
  signsAt(seq) {
    if (this.says.get(seq)?.isGone) return [];
    return [...this.signs.get(seq) ?? []]
      .map(([sign, names]) => [sign, [...names].filter(([, word]) => word.isOn).map(([name]) => name)])
      .filter(([, names]) => names.length);
  }

  _join(event, message, items) {
    return [moved(items, event, "came")];
  }

  _leave(event, message, items) {
    return [moved(items, event, message.lost ? "lost the connection" : "left")];
  }
}

// Comings and goings one after the other are one line, or they would bury what is said.
function moved(items, event, how) {
  const last = items.at(-1);
  const isRun = last?.kind === "moves" && sameDay(last.at, event.at) && last.moves.length < RUN;
  const item = isRun ? last : { kind: "moves", seq: event.seq, at: event.at, moves: [] };
  item.moves = [...item.moves.filter(move => move.by !== event.by), { by: event.by, how }];
  if (!isRun) items.push(item);
  return item;
}

const gapItem = gap => ({ kind: "gap", seq: gap.first, last: gap.last, at: null });

const untilOf = message => message.until ? ` until ${dateTime(message.until)}` : "";
const becauseOf = message => message.reason ? `: ${oneLine(message.reason)}` : "";

const NOTICES = {
  topic: (event, message) => ({
    parts: message.text ? ["set the topic: ", oneLine(message.text)] : ["took the topic away"],
  }),
  invite: (event, message) => ({ parts: ["invited ", { name: message.name }] }),
  kick: (event, message) => ({
    parts: ["put out ", { name: message.name }, becauseOf(message)],
  }),
  ban: (event, message) => ({
    parts: message.off ? ["lifted the ban on ", { name: message.name }]
      : ["banned ", { name: message.name }, untilOf(message), becauseOf(message)],
  }),
  mute: (event, message) => ({
    parts: message.off ? ["let ", { name: message.name }, " speak again"]
      : ["muted ", { name: message.name }, untilOf(message), becauseOf(message)],
  }),
  appoint: (event, message) => ({ parts: ["made ", { name: message.name }, ` ${an(message.rank)}`] }),
  restrict: (event, message) => ({ parts: [`opened the room to ${ACCESS[message.access] ?? "some"}`] }),
};

const isPutOut = ({ type, name, off }, whom) => name === whom && (type === "kick" || (type === "ban" && !off));

const ACCESS = { public: "everybody", invitation: "those who are invited", key: "those who have the key" };
const an = rank => `${/^[aeiou]/.test(rank) ? "an" : "a"} ${rank}`;

function within(map, key, first) {
  if (!map.has(key)) map.set(key, first());
  return map.get(key);
}

function partner(name, me) {
  const [, names] = /^@([^:]*):/.exec(name) ?? [];
  const two = names?.split(",") ?? [];
  return two.length === 2 ? two.find(one => one !== me) ?? two[0] : null;
}

// ---------------------------------------------------------------- attention

// What one person wants to be called for, and what not, as in client/attention.py. It is kept
// in this browser, for this name.
class Attention {
  constructor(me) {
    const { words = kept.get("words", []), ignored = [], muted = [] } = kept.get(`attention:${me}`, {});
    this.me = me;
    this.words = words; // that call, besides one's name
    this.ignored = new Set(ignored); // people of whom nothing is shown
    this.muted = new Set(muted); // rooms that call for nothing, by their short names
  }

  // Returns whether it is on the list now.
  toggle(list, name) {
    const isOn = !this[list].delete(name);
    if (isOn) this[list].add(name);
    this.keep();
    return isOn;
  }

  keep() {
    const { me, words, ignored, muted } = this;
    kept.set(`attention:${me}`, { words, ignored: [...ignored], muted: [...muted] });
  }

  // Is it not to be shown at all?
  hides({ kind, by, moves }) {
    return kind === "moves" ? moves.every(move => this.ignored.has(move.by)) : this.ignored.has(by);
  }

  isMuted(room) {
    return this.muted.has(room.short) || (room.isPrivate && this.ignored.has(room.other));
  }

  // Is there something to read that one has not read?
  isNews(room, item) {
    return item.kind === "say" && item.seq > room.read && item.by !== this.me && !item.isGone && !this.hides(item);
  }

  // Is it for oneself in particular?
  isCall(room, { by, text, replyTo }) {
    if (by === this.me) return false;
    return room.isPrivate || mentions(text, [this.me, ...this.words]) || room.says.get(replyTo)?.by === this.me;
  }
}

// ---------------------------------------------------------------- the conversation

// By this one knows one's devices from each other.
const PROGRAM = `the page, ${nameIn(navigator.userAgent, BROWSERS)} on ${nameIn(navigator.userAgent, SYSTEMS)}`;

const PASSING = new Set(["storage_failed", "storage_full", "busy", "try_later"]); // worth another try
const AGAIN_AFTER = 5; // seconds, where the server names none
const LAST_WORDS = new Set(["put_out", "taken_over", "banned"]); // after which nobody comes back by itself

// What one person says and hears. Each message that the server sends has its `on_TYPE`; `ask` is
// for what has an answer. A text is on the disk before it is sent, and is sent over each new
// connection until its ack or its event comes.
class Chat {
  me = null;
  identity = null; // what the hello says: name, token, password
  hasAccount = false; // the name is registered, and one's own
  limits = { text: 16384, line: 65536 };
  rooms = new Map();
  open = null; // the room that is shown
  pending = []; // what was said and is not acked: id, room, text, reply_to, why it is refused or delayed
  isConnected = false;
  trouble = ""; // why the server lets nobody in just now
  attention = new Attention("");
  link = new Link(this);
  #calls = new Map(); // id → what is done with the answers
  #early = new Set(); // the rooms in which something was said before one was in
  #later = null; // the timer for all that is pending
  #count = 0;
  #isLeaving = false;

  enter(identity) {
    this.identity = identity;
    this.link.enter();
    show.state();
  }

  // Nothing of this person is left in this browser, nor may it come in without the password.
  async leave() {
    this.#isLeaving = true; // whose device is revoked is put out, and need not be told
    if (this.hasAccount) await this.#revokeThis().catch(() => null);
    else this.#leaveRooms();
    for (const what of ["pending", "drafts", "rooms", "open", "attention"]) kept.drop(`${what}:${this.me}`);
    for (const what of ["me", "name", "notify", "words"]) kept.drop(what);
    this.end();
    this.#isLeaving = false;
  }

  #leaveRooms() {
    for (const room of this.rooms.values()) {
      if (!room.isPrivate && room.isIn) this.link.send({ type: "leave", room: room.name });
    }
  }

  async #revokeThis() {
    const [{ devices }] = await this.ask({ type: "devices" });
    await this.ask({ type: "revoke", device: devices.find(device => device.this).device });
  }

  // It is one's own from now on, and this browser's token stays good.
  owned() {
    this.hasAccount = true;
    this.identity.isOwn = true;
    kept.set("me", this.identity);
  }

  end() {
    this.link.close();
    this.isConnected = false;
    this.rooms.clear();
    this.#calls.clear();
    this.pending = [];
    this.open = this.me = this.identity = null;
    this.attention = new Attention("");
  }

  // ------------------------------------------------ the link

  opened() {
    const { name, token, password } = this.identity;
    this.link.send({ type: "hello", name, token, password, client: PROGRAM, id: "hello" });
  }

  heard(message) {
    const handle = this[`on_${message.type}`];
    if (handle) handle.call(this, message);
    const call = this.#calls.get(message.id);
    if (call && call(message)) this.#calls.delete(message.id);
  }

  closed(code) {
    this.isConnected = false;
    for (const call of this.#calls.values()) call(null);
    this.#calls.clear();
    // Its last word may have been lost behind what was on its way.
    if (this.me && code === TAKEN_OVER) this.giveWay();
    else if (this.me && code === PUT_OUT) this.#letGo("You were put out.");
    show.state();
    show.pending();
  }

  // ------------------------------------------------ asking

  // The replies to a request, which may be more than one; rejects with what was refused.
  ask(request) {
    const id = `q${(this.#count += 1)}`;
    return new Promise((resolve, reject) => {
      if (!this.isConnected || !this.link.send({ ...request, id })) {
        reject(new Error("not connected; try again in a moment"));
        return;
      }
      const replies = [];
      this.#calls.set(id, reply => {
        if (reply === null) reject(new Error("the connection was lost; try again"));
        else if (reply.type === "error") reject(refusalOf(reply));
        else replies.push(reply);
        if (reply?.more && reply.type !== "page") return false;
        resolve(replies);
        return true;
      });
    });
  }

  // ------------------------------------------------ what the server says

  on_welcome(welcome) {
    const isNewHistory = this.identity.epoch && this.identity.epoch !== welcome.epoch;
    this.me = welcome.name;
    this.limits = welcome.limits;
    this.isConnected = true;
    this.link.greeted();
    this.hasAccount = welcome.account ?? false;
    this.trouble = "";
    const { name, token, epoch } = welcome;
    this.identity = { name, token, epoch, room: this.identity.room, isOwn: this.hasAccount };
    kept.set("me", this.identity);
    this.pending = kept.get(`pending:${this.me}`, []);
    this.attention = new Attention(this.me);
    tabs.tell();
    if (isNewHistory) for (const room of this.rooms.values()) room.forget();
    this.#resume(welcome.rooms ?? []);
    show.entered(isNewHistory);
  }

  #resume(states) {
    const known = new Map(states.map(state => [state.room, state]));
    for (const name of this.wanted()) if (!known.has(name)) known.set(name, null);
    for (const [name, state] of known) {
      const room = this.room(name);
      if (state) room.read = Math.max(room.read, state.read ?? 0);
      const isQuiet = room.isPrivate && room !== this.open && !room.last && state && state.head <= room.read;
      if (!isQuiet) this.join(name, state !== null);
    }
    for (const saying of this.pending) this.room(saying.room); // or nobody would see what became of it
    this.#sendAll();
  }

  // The rooms that one is to be in: those of the last visit, and that of the address.
  wanted() {
    const names = kept.get(`rooms:${this.me}`, []);
    return [...new Set([...names, ...(names.length ? [] : [this.identity.room ?? "lobby"])])];
  }

  on_event(event) {
    const room = this.rooms.get(event.message.room);
    if (!room) return; // it was left a moment ago
    const isOwn = event.by === this.me;
    const changed = room.take(event);
    if (isOwn && event.message.id) this.settle(event.message.id);
    if (isPutOut(event.message, this.me) && event.seq > room.inSince) this.#putOut(room, event.message);
    if (event.message.type === "delete") this.#recount(room);
    for (const item of changed) if (item.seq === event.seq) this.#notice(room, item);
    show.happened(room, changed, event);
    if (room.items.length > MOST && (room !== this.open || show.isAtEnd)) show.trim(room);
  }

  #putOut(room, message) {
    room.isIn = room.isWanted = false;
    this.#remember();
    const why = untilOf(message) + becauseOf(message);
    if (message.type === "ban") show.toast(`You were banned from ${room.title}${why}`, "Close");
    else show.toast(`You were put out of ${room.title}${why}`, "Enter again", () => enterRoom(room.name));
  }

  #notice(room, item) {
    if (!this.attention.isNews(room, item)) return;
    const isCall = this.attention.isCall(room, item);
    room.unread += 1;
    if (isCall) room.calls += 1;
    show.news(room, item, isCall && !this.attention.isMuted(room));
  }

  #recount(room) {
    const news = room.items.filter(item => this.attention.isNews(room, item));
    room.unread = news.length;
    room.calls = news.filter(item => this.attention.isCall(room, item)).length;
  }

  // Somebody is ignored from now on, or a room muted; or not any more. Returns which.
  toggle(list, name) {
    const isOn = this.attention.toggle(list, name);
    for (const room of this.rooms.values()) this.#recount(room);
    show.afresh();
    return isOn;
  }

  on_gap(gap) {
    const room = this.rooms.get(gap.room);
    if (room) show.happened(room, room.takeGap(gap), null);
  }

  on_ack(ack) {
    const saying = this.pending.find(one => one.id === ack.id);
    if (!saying) return;
    if (saying.room !== ack.room) this.#moveTo(saying.room, ack.room);
    const room = this.rooms.get(ack.room);
    if (ack.again || !room?.isIn || room.last >= ack.seq) this.settle(ack.id); // else by its event
  }

  // What was said to `@bob` stands in a room with a longer name.
  #moveTo(short, full) {
    const draft = this.rooms.get(short);
    for (const saying of this.pending) if (saying.room === short) saying.room = full;
    const room = this.room(full);
    if (draft) this.rooms.delete(short);
    if (!room.isIn) this.join(full, true);
    composer.rename(short, full);
    if (this.open === draft) show.renamed(room);
    this.#remember();
  }

  on_called(called) {
    const room = this.room(called.room);
    if (room.isPrivate) {
      room.read = Math.max(room.read, called.seq - 1); // it may have been put away
      if (!room.isIn) this.join(room.name, true);
    } else {
      if (!room.isWanted) this.rooms.delete(room.name);
      if (!this.attention.hides(called)) show.invited(called);
    }
  }

  on_marked(marked) {
    const room = this.rooms.get(marked.room);
    if (!room || marked.seq < room.read) return;
    room.read = marked.seq;
    this.#recount(room);
    show.lists();
  }

  on_error(error) {
    const isOfLink = !error.id && (!this.isConnected || LAST_WORDS.has(error.code));
    if (error.id === "hello" || isOfLink) this.#turnedAway(error);
    const saying = this.pending.find(one => one.id === error.id);
    if (!saying) return;
    const room = this.rooms.get(saying.room);
    const isEarly = error.code === "not_in_room" && room?.isWanted && !room.isIn;
    const isPassing = PASSING.has(error.code);
    if (isEarly) this.#early.add(room);
    if (isPassing) this.#sendLater(error.retry);
    if (isEarly || isPassing) saying.delay = oneLine(error.text);
    else this.#refused(saying, oneLine(error.text));
    this.#keepPending();
    show.pending();
  }

  // It stands at the end of its room, which may not be the one that is open.
  #refused(saying, why) {
    saying.why = why;
    const room = this.rooms.get(saying.room);
    if (room === this.open) show.readOut(`Not sent: ${why}`);
    else if (room) show.toast(`Not sent to ${room.title}: ${why}`, "Look", () => show.room(room));
  }

  #turnedAway(error) {
    if (["server_full", "too_many_connections"].includes(error.code)) {
      this.link.retry(error.retry ?? 10);
      this.trouble = `${oneLine(error.text)}. Trying again …`;
      return;
    }
    const text = oneLine(error.text);
    if (error.code === "taken_over") this.giveWay();
    else if (error.code === "put_out") this.#letGo(`You were put out: ${text}.`);
    else this.#letGo(text, ["password_needed", "wrong_password"].includes(error.code));
  }

  // One was in, or is not let in.
  #letGo(why, needsPassword = false) {
    if (this.#isLeaving) return;
    const isOwn = this.hasAccount;
    this.end();
    show.door(why, needsPassword || isOwn);
  }

  // Somebody else goes on, with the same token.
  giveWay() {
    this.link.close();
    show.asleep();
  }

  on_goodbye(goodbye) {
    if (goodbye.retry !== undefined) this.link.retry(goodbye.retry * (0.5 + Math.random()));
  }

  // ------------------------------------------------ rooms

  room(typed) {
    const name = fold(typed);
    let room = this.rooms.get(name);
    if (!room) {
      room = new Room(name, this.me);
      this.rooms.set(name, room);
    }
    return room;
  }

  // The private room with somebody, or the promise of one.
  roomWith(name) {
    const found = [...this.rooms.values()].filter(room => room.isPrivate && room.other === name);
    return found.at(-1) ?? this.room(`@${name}`);
  }

  // The room, or null if one was not let in, which the page has said then.
  async join(name, isKnown, key) {
    const room = this.room(name);
    if (!isKnown && !room.read) room.read = Infinity; // whoever is new has nothing to catch up
    room.isWanted = true;
    this.#remember(); // before one is in: the connection may be lost first
    try {
      const [ack] = await this.ask({ type: "join", room: room.name, key, after: room.last || undefined });
      this.#joined(room, ack.seq);
    } catch (refusal) {
      if (!refusal.code) return null; // the connection is lost: it is resumed with the next one
      if (PASSING.has(refusal.code)) return this.#joinLater(room, isKnown, key, refusal);
      if (refusal.code !== "already_in_room") return this.#notLetIn(room, refusal);
      this.#joined(room, room.last);
    }
    return room;
  }

  #joined(room, head) {
    room.isIn = true;
    room.inSince = head;
    if (room.read === Infinity) room.read = head;
    this.#remember();
    if (this.#early.delete(room)) this.#sendAll();
    this.askWho(room);
    show.lists();
    if (this.open === room) show.refreshed();
  }

  #joinLater(room, isKnown, key, { message, retry = AGAIN_AFTER }) {
    room.isIn = false; // it may have been, over the connection before
    show.toast(`${room.title}: ${message}. Trying again …`);
    setTimeout(() => {
      if (this.rooms.get(room.name) === room && !room.isIn) this.join(room.name, isKnown, key);
    }, retry * 1000);
    return null;
  }

  // It stays as long as something was said there: nobody would see what became of that.
  #notLetIn(room, refusal) {
    room.isIn = room.isWanted = false;
    const isSilent = !this.pending.some(saying => saying.room === room.name);
    if (isSilent) this.rooms.delete(room.name);
    this.#remember();
    if (this.#early.delete(room)) this.#sendAll(); // it is refused then
    show.toast(refusal.message);
    if (isSilent) show.left(room);
    return null;
  }

  async part(room) {
    if (room.isIn) await this.ask({ type: "leave", room: room.name }).catch(() => null);
    this.rooms.delete(room.name);
    this.#remember();
    show.left(room);
  }

  #remember() {
    const names = [...this.rooms.values()].filter(room => room.isWanted && !room.isPrivate).map(room => room.name);
    kept.set(`rooms:${this.me}`, names);
  }

  async askWho(room) {
    const replies = await this.ask({ type: "who", room: room.name }).catch(() => []);
    if (!replies.length) return;
    const ranks = new Set(replies.flatMap(reply => reply.moderators ?? []));
    const names = replies.flatMap(reply => reply.names);
    room.members = new Map(names.map(name => [name, ranks.has(name) ? "moderator" : ""]));
    room.topic = replies[0].topic ?? "";
    show.about(room);
  }

  // What came before all that is here, unless that has changed meanwhile: a page that does
  // not go before it would show a message twice, or none.
  async older(room) {
    const { first } = room;
    const [page] = await this.ask({ type: "history", room: room.name, before: room.first || undefined, limit: PAGE });
    return room.first === first ? room.takeOlder(page) : [];
  }

  mark(room) {
    if (!room.last || room.read >= room.last || room.read === Infinity) return;
    room.read = room.last;
    room.unread = room.calls = 0;
    // With an id: the refusal of one who is banned from the room would end the connection.
    this.link.send({ type: "read", room: room.name, seq: room.last, id: randomId() });
    show.lists();
  }

  // ------------------------------------------------ saying

  say(room, text, replyTo) {
    const saying = { id: randomId(), room: room.name, text, reply_to: replyTo, at: Date.now() };
    this.pending.push(saying);
    this.#keepPending(); // first to the disk, then to the server
    this.#send(saying);
    show.pending();
  }

  // All together, and nothing before: what was said later would come first.
  #sendLater(retry = AGAIN_AFTER) {
    this.#later ??= setTimeout(() => this.#sendAll(), retry * 1000);
  }

  #sendAll() {
    clearTimeout(this.#later);
    this.#later = null;
    for (const saying of this.pending) {
      delete saying.delay;
      this.#send(saying);
    }
    show.pending();
  }

  #send({ id, room, text, reply_to, why }) {
    if (why || this.#later || !this.isConnected || !this.pending.some(one => one.id === id)) return;
    this.link.send({ type: "say", room, text, id, reply_to });
  }

  sayAgain(id) {
    const saying = this.pending.find(one => one.id === id);
    delete saying.why;
    this.#keepPending();
    this.#send(saying);
    show.pending();
  }

  settle(id) {
    const size = this.pending.length;
    this.pending = this.pending.filter(one => one.id !== id);
    if (this.pending.length === size) return;
    this.#keepPending();
    show.pending();
  }

  #keepPending() {
    kept.set(`pending:${this.me}`, this.pending);
  }
}

const refusalOf = ({ text, code, retry }) => Object.assign(new Error(oneLine(text)), { code, retry });

// A person is here once: the newest tab goes on, the others wait to be wanted again.
class Tabs {
  #channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("trio_chat");

  constructor() {
    this.#channel?.addEventListener("message", ({ data }) => {
      if (data.here === chat.me && chat.me) chat.giveWay();
    });
  }

  tell() {
    this.#channel?.postMessage({ here: chat.me });
  }
}

// ---------------------------------------------------------------- the page

const TOGETHER = 5 * 60; // seconds in which what one person says stands under one head
const NAMED = 6; // of many who come or go at once
const NEAR_END = 80; // pixels from the end at which one reads on with what comes
const NEAR_TOP = 400; // pixels from the top at which what was earlier is asked for

const $ = id => document.getElementById(id);

function make(tag, kind = "", text = null) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== null) element.textContent = text;
  return element;
}

function nameOf(name) {
  const shown = make("bdi", `by ${colourOf(name)}`, clean(name));
  shown.dataset.name = name;
  return shown;
}

function faceOf(name, kind = "face") {
  const face = make("span", `${kind} ${colourOf(name)}`, [...name][0] ?? "?");
  face.setAttribute("aria-hidden", "true");
  return face;
}

function icon(name) {
  const drawing = $("t-icon").content.firstElementChild.cloneNode(true);
  drawing.firstElementChild.setAttribute("href", `#i-${name}`);
  return drawing;
}

// A room or a person, in a list of them.
function placeOf(name, isPerson) {
  return [isPerson ? faceOf(name) : make("span", "sign", "#"), make("bdi", "", clean(name))];
}

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const dateTime = at => moment.format(new Date(at));
const dayOf = at => new Date(at).toDateString();
const sameDay = (one, other) => dayOf(one) === dayOf(other);

function dayName(at) {
  const back = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 864e5);
  return back === 0 ? "Today" : back === 1 ? "Yesterday" : day.format(new Date(at));
}

// At the edge there is only room for the figures: the head above has AM or PM.
function timeOf(at, isAtEdge = false) {
  const parts = time.formatToParts(new Date(at)).filter(({ type }) => !isAtEdge || type !== "dayPeriod");
  const element = make("time", "", parts.map(({ value }) => value).join("").trim());
  element.dateTime = at;
  element.title = dateTime(at);
  return element;
}

// ------------------------------------------------ what somebody said

const PIECE = /```\n?([\s\S]+?)\n?```\n?|`([^`\n]+)`|(https?:\/\/[^\s<>"'`\ufffd]+)/gu;
const EMOJI_ONLY = /^(?:[\p{Extended_Pictographic}\p{Emoji_Modifier}\u200d\ufe0f]|\s){1,12}$/u;

function fill(element, raw) {
  const text = clean(raw);
  let end = 0;
  for (const found of text.matchAll(PIECE)) {
    element.append(...plain(text.slice(end, found.index)), ...piece(found));
    end = found.index + found[0].length;
  }
  element.append(...plain(text.slice(end)));
  element.classList.toggle("big", EMOJI_ONLY.test(text));
}

function piece([, block, code, link]) {
  if (link) return linkTo(link);
  const inner = make("code", "", block ?? code);
  if (block === undefined) return [inner];
  const outer = make("pre");
  outer.append(inner);
  return [outer];
}

// The signs behind an address are not part of it, unless it is a bracket that was opened in it.
function linkTo(found) {
  const isOpened = tail => found.includes("(") && tail.startsWith(")");
  const address = found.replace(/(?<![.,;:!?)\]}])[.,;:!?)\]}]+$/u, tail => isOpened(tail) ? ")" : "");
  if (!URL.canParse(address)) return [found];
  const link = make("a", "", address);
  Object.assign(link, { href: address, target: "_blank", rel: "noopener noreferrer" });
  return [link, found.slice(address.length)];
}

// My name stands out in what others say.
function plain(text) {
  const words = [chat.me, ...chat.attention.words].filter(Boolean);
  if (!words.length || !mentions(text, words)) return [text];
  const parts = text.split(new RegExp(`(${words.map(wordPattern).join("|")})`, "iu"));
  return parts.map((part, at) => at % 2 ? make("span", "mark", part) : part);
}

// Where there may be something of what one person has seen or written.
const SEEN = [
  "messages", "waiting", "rooms", "people", "members", "hits", "heard", "found", "device-list", "completions",
  "about-text", "hint", "toast", "my-name", "whose", "account-title", "quieted", "menu-title", "menu-ways",
];

const OFFLINE = "No connection. Go on writing: it is sent, once, when the connection is back.";

// All that is seen, as far as `chat` knows it. An item of the room that is open has its `node`;
// where something has changed, that one is made anew.
class Show {
  #newLine = null;
  #listsDue = false;
  #endDue = false;
  #toastEnd = null;
  #places = new WeakMap(); // room → its line in the list
  #top = 0; // where the log was scrolled to
  isAtEnd = true;

  // ------------------------------------------------ the whole

  door(refusal = "", needsPassword = false) {
    this.#wipe();
    $("app").hidden = true;
    $("door").hidden = false;
    $("where").textContent = location.host;
    const { name, room, password } = $("enter").elements;
    const me = kept.get("me", null);
    name.value ||= me?.name ?? kept.get("name", "");
    room.value = roomOfAddress() ?? room.value;
    $("password-field").hidden = !needsPassword && !(me?.isOwn && me.name === fold(name.value));
    this.atDoor(refusal);
    this.state();
    (needsPassword ? password : name).focus();
    document.title = "trio_chat";
  }

  // Nothing is left of what somebody has seen here.
  #wipe() {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    $("menu").hidePopover?.();
    document.body.append($("actions"));
    for (const part of SEEN) $(part).replaceChildren();
    this.about(null);
    this.beside(null);
    $("search").reset();
    finder.forget();
    $("typed").value = "";
  }

  // What is told at the door; while one waits there, nothing can be entered.
  atDoor(text, isWaiting = false) {
    $("refused").textContent = text;
    $("refused").classList.toggle("refusal", !isWaiting);
    $("enter").querySelector("button").disabled = isWaiting;
  }

  entered(isNewHistory) {
    $("door").hidden = true;
    $("app").hidden = false;
    $("my-name").textContent = chat.me;
    $("my-face").replaceWith(Object.assign(faceOf(chat.me), { id: "my-face" }));
    $("server").textContent = location.hostname;
    kept.set("name", chat.me);
    this.state();
    if (!chat.open) this.room(this.#firstRoom());
    else if (isNewHistory) this.#anew();
    else this.pending();
  }

  // Its numbers mean other messages than what was shown, or was about to be done to it.
  #anew() {
    this.toast("");
    $("signs").close();
    this.room(chat.open);
  }

  #firstRoom() {
    const asked = roomOfAddress();
    if (asked && !chat.rooms.get(asked)?.isWanted) chat.join(asked, false); // it may be there for what is pending
    const last = kept.get(`open:${chat.me}`, null);
    return chat.rooms.get(asked) ?? chat.rooms.get(last) ?? [...chat.rooms.values()][0] ?? null;
  }

  state() {
    const waits = chat.link.attempts ? "The server can't be reached. Trying again …" : "Connecting …";
    if (!chat.me && chat.identity) this.atDoor(chat.trouble || waits, true);
    const lost = Boolean(chat.me && !chat.isConnected);
    if (chat.me && lost === $("offline").hidden) this.readOut(lost ? OFFLINE : "Connected again.");
    $("state").className = chat.isConnected ? "connected" : "lost";
    $("state").textContent = chat.isConnected ? "connected" : "reconnecting …";
    $("offline").hidden = !lost;
    $("offline").textContent = lost ? OFFLINE : "";
  }

  asleep() {
    if (!$("asleep").open) $("asleep").showModal();
  }

  // With its button a focus would go, too: to where Enter says nothing, for nobody has chosen that.
  toast(text, label = "", act = null) {
    if ($("toast").contains(document.activeElement)) focusLog();
    $("toast").role = label ? "alert" : null; // what asks for nothing does not cut in
    $("toast").textContent = text;
    if (label) {
      const button = make("button", "main", label);
      button.onclick = () => { this.answered(); act?.(); };
      $("toast").append(" ", button);
    } else if (text) this.readOut(text);
    clearTimeout(this.#toastEnd);
    if (text) this.#toastEnd = setTimeout(() => this.toast(""), label ? 20000 : 6000);
  }

  // Whoever has said yes or no goes on writing.
  answered() {
    if ($("toast").contains(document.activeElement)) composer.focus();
    this.toast("");
  }

  // What one has just asked for oneself: Enter does it, Esc does not.
  confirm(text, label, act) {
    this.toast(text, label, act);
    $("toast").querySelector("button").focus();
  }

  invited({ room, by }) {
    this.toast(`${by} invites you to ${room}.`, "Enter", () => go(room));
  }

  // ------------------------------------------------ the lists

  lists() {
    if (this.#listsDue) return;
    this.#listsDue = true;
    setTimeout(() => { this.#listsDue = false; this.#showLists(); }, 30);
  }

  #showLists() {
    if (!chat.me) return;
    const rooms = sorted(chat.rooms.values());
    fillList($("rooms"), rooms.filter(room => !room.isPrivate).map(room => this.#place(room)));
    fillList($("people"), rooms.filter(room => room.isPrivate).map(room => this.#place(room)));
    const loud = rooms.filter(room => !chat.attention.isMuted(room));
    const others = loud.filter(room => room !== chat.open);
    $("elsewhere").hidden = !total(others, "unread");
    $("elsewhere").textContent = countOf(total(others, "unread"));
    $("elsewhere").classList.toggle("calls", total(others, "calls") > 0);
    this.#title(total(loud, "calls"), total(loud, "unread"));
  }

  #title(calls, unread) {
    const mark = calls ? `(${calls}) ` : unread ? "• " : "";
    document.title = chat.open ? `${mark}${clean(chat.open.title)} · trio_chat` : `${mark}trio_chat`;
  }

  #place(room) {
    const line = this.#places.get(room) ?? this.#makePlace(room);
    const button = line.firstElementChild;
    const isMuted = chat.attention.isMuted(room);
    button.ariaCurrent = room === chat.open ? "page" : null;
    button.classList.toggle("unread", room.unread > 0 && !isMuted);
    button.querySelector(".quiet").hidden = !isMuted;
    const badge = button.lastElementChild;
    badge.hidden = !room.unread || isMuted;
    badge.textContent = countOf(room.unread);
    badge.classList.toggle("calls", room.calls > 0);
    badge.ariaLabel = `${room.unread} unread${room.calls ? `, ${room.calls} for you` : ""}`;
    return line;
  }

  // It stays the same one: what goes away under a finger, or the focus, is not pressed.
  #makePlace(room) {
    const line = make("li");
    const button = make("button", "place");
    button.dataset.room = room.name;
    const quiet = make("span", "quiet");
    quiet.append(icon("quiet"), make("span", "unseen", "muted"));
    button.append(...placeOf(room.title, room.isPrivate), quiet, make("span", "badge"));
    line.append(button);
    this.#places.set(room, line);
    return line;
  }

  // ------------------------------------------------ one room

  room(room) {
    composer.keep();
    hands.markNow();
    this.#open(room);
    composer.take();
  }

  // The room that is open under its full name: what is being typed stays as it is.
  renamed(room) {
    this.#open(room);
    composer.keep();
  }

  #open(room) {
    chat.open = room;
    if (room) {
      room.newAfter = room.unread ? room.read : null;
      kept.set(`open:${chat.me}`, room.name);
      history.replaceState(null, "", room.isPrivate ? "#" : `#${encodeURIComponent(room.name)}`);
      if (!room.isIn && room.isPrivate && !room.isPromised) chat.join(room.name, true);
    }
    this.#all();
    this.about(room);
    this.pending();
    this.lists();
    this.toEnd();
    hands.mark();
    if (room && !$("members").hidden) chat.askWho(room);
    this.uncover();
  }

  // On a narrow screen, what is beside the room lies over it.
  uncover() {
    this.drawer(false);
    if (this.#isCovered()) this.beside(null);
  }

  #isCovered() {
    return !$("beside").hidden && getComputedStyle($("beside")).position === "fixed";
  }

  // The lists, where there is no room for them beside the room.
  drawer(isOpen) {
    const wasOpen = $("side").classList.contains("open");
    $("side").classList.toggle("open", isOpen);
    for (const part of [document.querySelector("main"), $("beside")]) part.inert = isOpen;
    if (isOpen) $("side-close").focus();
    else if (wasOpen) $("side-open").focus();
  }

  refreshed() {
    this.about(chat.open);
    hands.fill();
    hands.mark();
  }

  about(room) {
    if (room !== chat.open) return;
    $("title").textContent = room ? clean(room.isPrivate ? room.title : `# ${room.title}`) : "";
    $("topic").textContent = !room ? "" : room.isPrivate ? "Only the two of you can read this." : oneLine(room.topic);
    $("topic").title = $("topic").textContent;
    $("count").textContent = room && !room.isPrivate ? room.members.size || "" : "";
    $("members-open").ariaLabel = `Who is here ${$("count").textContent}`.trim();
    $("room-menu").hidden = $("members-open").hidden = !room;
    $("typed").disabled = $("send").disabled = !room;
    $("typed").placeholder = room ? `Write to ${room.isPrivate ? room.title : `#${room.title}`}` : "Enter a room first";
    for (const part of ["log", "messages"]) $(part).ariaLabel = room ? `Messages in ${clean(room.title)}` : "Messages";
    this.#members(room);
    this.#older();
  }

  #older() {
    $("older").textContent = beginningOf(chat.open);
  }

  left(room) {
    if (chat.open === room) this.room(sorted(chat.rooms.values())[0] ?? null);
    this.lists();
  }

  // What has changed, in a room that may be this one.
  happened(room, items, event) {
    if (room !== chat.open) {
      this.lists();
      return;
    }
    for (const item of items) {
      if (item.node?.isConnected) this.#renew(item);
      else this.#append(item);
    }
    if (event && ["join", "leave", "topic", "kick", "ban"].includes(event.message.type)) this.about(room);
    if (event) this.#announce(room, event);
    if (this.isAtEnd) this.toEnd();
    else if (items.some(item => item.seq === event?.seq && chat.attention.isNews(room, item))) this.#below();
    hands.mark();
  }

  // Somebody is not to be seen any more, or is again.
  afresh() {
    const { scrollTop } = $("log");
    this.#all();
    if (this.isAtEnd) this.toEnd();
    else $("log").scrollTop = scrollTop;
    this.#members(chat.open);
    this.lists();
  }

  trim(room) {
    room.trim();
    if (room !== chat.open) return;
    this.#all();
    this.toEnd();
  }

  #all() {
    const room = chat.open;
    const hadFocus = $("messages").contains(document.activeElement);
    this.#newLine = null;
    $("actions").hidden = true;
    document.body.append($("actions")); // or it would go with the message that it is at
    $("messages").replaceChildren();
    if (room) $("messages").append(...this.#nodes(room, room.items, null));
    if (hadFocus) composer.focus();
    this.#older();
  }

  #nodes(room, items, before) {
    const nodes = [];
    for (const item of items) {
      nodes.push(...this.#with(room, item, before));
      if (isShown(item)) before = item;
    }
    return nodes;
  }

  #with(room, item, before) {
    const nodes = isShown(item) ? this.#above(room, item, before) : [];
    item.isFirst = !before || before.kind !== "say" || before.by !== item.by || nodes.length > 0 ||
      item.replyTo !== undefined || (Date.parse(item.at) - Date.parse(before.at)) / 1000 > TOGETHER;
    item.node = this.#node(room, item);
    return [...nodes, item.node];
  }

  #above(room, item, before) {
    const nodes = [];
    if (item.at && (!before?.at || !sameDay(before.at, item.at))) nodes.push(make("li", "day", dayName(item.at)));
    if (this.#isNew(room, item)) {
      this.#newLine = make("li", "new", "new");
      nodes.push(this.#newLine);
    }
    return nodes;
  }

  #isNew(room, item) {
    const isOfOthers = item.kind === "say" && item.by !== chat.me;
    return isOfOthers && !this.#newLine && room.newAfter !== null && item.seq > room.newAfter;
  }

  #append(item) {
    const room = chat.open;
    const at = room.items.lastIndexOf(item);
    const before = room.items.findLast((one, place) => place < at && isShown(one)) ?? null;
    $("messages").append(...this.#with(room, item, before));
  }

  #renew(item) {
    const hadFocus = item.node.contains(document.activeElement);
    const node = this.#node(chat.open, item);
    if (item.node.contains($("actions"))) node.append($("actions"));
    item.node.replaceWith(node);
    item.node = node;
    if (hadFocus) node.focus();
  }

  // What came before all that is here, without a jump for who reads.
  older(items) {
    const log = $("log");
    const after = items.length ? chat.open.items.find((item, at) => at >= items.length && isShown(item)) : null;
    const anchor = after?.node ?? null;
    const top = anchor?.getBoundingClientRect().top;
    const nodes = this.#nodes(chat.open, items, null);
    $("messages").prepend(...nodes);
    if (anchor) {
      this.#joinAt(items.findLast(isShown), after);
      log.scrollTop += anchor.getBoundingClientRect().top - top;
    } else if (items.length) {
      this.toEnd();
    }
    this.#older();
  }

  #joinAt(before, after) {
    const line = after.node.previousElementSibling;
    if (line?.className === "day" && before?.at && after.at && sameDay(before.at, after.at)) line.remove();
  }

  // ------------------------------------------------ one message

  #node(room, item) {
    if (!isShown(item)) return Object.assign(make("li"), { hidden: true }); // it keeps the place
    if (item.kind !== "say") return this.#notice(item);
    const node = $("t-message").content.firstElementChild.cloneNode(true);
    node.dataset.seq = item.seq;
    node.classList.toggle("first", item.isFirst);
    node.classList.toggle("gone", Boolean(item.isGone));
    node.classList.toggle("calls", !room.isPrivate && chat.attention.isCall(room, item));
    node.querySelector(".face").replaceWith(faceOf(item.by));
    node.querySelector(".head .by").replaceWith(nameOf(item.by));
    node.querySelector("time").replaceWith(timeOf(item.at, !item.isFirst));
    this.#quote(room, item, node.querySelector(".quote"));
    this.#text(item, node.querySelector(".text"));
    this.#signs(room, item, node.querySelector(".signs"));
    return node;
  }

  #text(item, element) {
    if (item.isGone) {
      element.textContent = "This message was deleted.";
      return;
    }
    fill(element, item.text);
    if (item.isEdited) element.append(make("span", "edited", "(edited)"));
  }

  #quote(room, item, element) {
    if (item.replyTo === undefined) return;
    const said = room.says.get(item.replyTo);
    element.hidden = false;
    if (said && !isShown(said)) {
      element.disabled = true;
      element.querySelector("span").textContent = "somebody whom you ignore";
      return;
    }
    element.dataset.jump = item.replyTo;
    if (said) element.querySelector(".by").replaceWith(nameOf(said.by));
    const text = said?.isGone ? "a deleted message" : oneLine(said?.text ?? "an earlier message");
    element.querySelector("span").textContent = text.slice(0, 200);
  }

  #signs(room, item, list) {
    for (const [sign, all] of room.signsAt(item.seq)) {
      const names = all.filter(by => isShown({ by }));
      if (!names.length) continue;
      const button = make("button", "", clean(sign));
      button.append(make("span", "", String(names.length)));
      button.dataset.sign = sign;
      button.setAttribute("aria-pressed", String(names.includes(chat.me)));
      button.title = clean(names.join(", "));
      button.setAttribute("aria-label", `${clean(sign)} by ${button.title}`);
      const line = make("li");
      line.append(button);
      list.append(line);
    }
    if (!list.children.length) list.remove();
  }

  #notice(item) {
    const node = make("li", "notice");
    if (item.kind === "moves") node.append(...movesText(item.moves.filter(isShown)));
    else if (item.kind === "gap") node.append(`Messages ${item.seq} to ${item.last} can't be had any more.`);
    else node.append(nameOf(item.by), " ", ...item.parts.map(part => part.name ? nameOf(part.name) : part));
    if (item.at) node.append(timeOf(item.at));
    return node;
  }

  #announce(room, event) {
    const { type, text } = event.message;
    if (type !== "say" || event.by === chat.me || event.seq <= room.read || !isShown(event)) return;
    this.readOut(`${clean(event.by)}: ${clean(text)}`);
  }

  // To who does not see it.
  readOut(text) {
    const heard = $("heard");
    heard.append(make("p", "", text));
    while (heard.children.length > 20) heard.firstElementChild.remove();
  }

  // ------------------------------------------------ what is not sent yet

  pending() {
    const mine = chat.open ? chat.pending.filter(saying => saying.room === chat.open.name) : [];
    $("waiting").replaceChildren(...mine.map(saying => this.#waiting(saying)));
    if (this.isAtEnd) this.toEnd();
  }

  #waiting(saying) {
    const { text, reply_to: replyTo } = saying;
    const at = new Date(saying.at).toISOString();
    const node = this.#node(chat.open, { kind: "say", by: chat.me, at, text, replyTo, isFirst: true });
    delete node.dataset.seq;
    node.classList.toggle("refused", Boolean(saying.why));
    node.querySelector(".content").append(this.#fate(saying));
    return node;
  }

  #fate({ id, why, delay }) {
    if (delay) return make("p", "fate", `Not sent yet: ${delay}`);
    if (!why) return make("p", "fate", chat.isConnected ? "sending …" : "not sent yet");
    const fate = make("p", "fate", `Not sent: ${why}`);
    const ways = make("span");
    ways.append(this.#fateButton("Try again", "again", id), this.#fateButton("Take back", "back", id));
    fate.append(ways);
    return fate;
  }

  #fateButton(text, fate, id) {
    const button = make("button", "", text);
    Object.assign(button.dataset, { fate, id });
    return button;
  }

  // ------------------------------------------------ where one reads

  toEnd() {
    this.isAtEnd = true;
    $("down").hidden = true;
    if (this.#endDue) return;
    this.#endDue = true;
    // Once before it is drawn, however many messages have come.
    requestAnimationFrame(() => { this.#endDue = false; this.#fall(); });
  }

  #fall() {
    const log = $("log");
    log.scrollTop = log.scrollHeight;
    this.#top = log.scrollTop;
    hands.fill();
  }

  scrolled() {
    const log = $("log");
    const left = log.scrollHeight - log.scrollTop - log.clientHeight;
    // Only who scrolls up leaves the end: in a flood it runs ahead of what was scrolled.
    if (left < NEAR_END) this.isAtEnd = true;
    else if (log.scrollTop < this.#top) this.isAtEnd = false;
    this.#top = log.scrollTop;
    $("down").hidden = left < log.clientHeight || this.isAtEnd;
    if (this.isAtEnd) {
      $("down").classList.remove("new-ones");
      $("down").firstElementChild.textContent = "Newest";
      hands.mark();
    }
  }

  #below() {
    $("down").hidden = false;
    $("down").classList.add("new-ones");
    $("down").firstElementChild.textContent = "New messages";
  }

  point(seq) {
    const node = chat.open.says.get(seq)?.node;
    if (!node?.isConnected) return false;
    node.scrollIntoView({ block: "center" });
    node.classList.remove("shown");
    void node.offsetWidth; // so that the animation begins again
    node.classList.add("shown");
    node.focus({ preventScroll: true });
    return true;
  }

  // ------------------------------------------------ beside

  beside(what) {
    $("beside").hidden = !what;
    $("members").hidden = what !== "members";
    $("search").hidden = what !== "search";
    $("hits").hidden = what !== "search";
    $("more-hits").hidden = true;
    $("beside-title").textContent = what === "search" ? "Search" : "Who is here";
    $("members-open").setAttribute("aria-expanded", String(what === "members"));
    this.#members(chat.open);
    if (what === "members") chat.askWho(chat.open);
    if (what === "search") $("search").elements.words.focus();
    else if (this.#isCovered()) $("beside-close").focus();
    if (!what) composer.focus();
  }

  #members(room) {
    if ($("members").hidden) return;
    const names = room ? [...room.members].sort(([a], [b]) => a.localeCompare(b)) : [];
    const held = $("members").contains(document.activeElement) ? document.activeElement.dataset : null;
    $("members").replaceChildren(...names.map(([name, rank]) => this.#member(name, rank)));
    const isHeld = ({ dataset }) => dataset.person === held.person && dataset.about === held.about;
    if (held) ([...$("members").querySelectorAll("button")].find(isHeld) ?? $("beside-close")).focus();
  }

  #member(name, rank) {
    const button = make("button");
    button.dataset.person = name;
    button.title = name === chat.me ? "This is you" : `Write to ${clean(name)}`;
    button.append(...placeOf(name, true));
    if (rank) button.append(make("span", "rank", rank));
    if (name === chat.me) button.append(make("span", "rank", "you"));
    if (chat.attention.ignored.has(name)) button.append(make("span", "rank", "ignored"));
    const line = make("li");
    line.append(button);
    if (name !== chat.me) line.append(this.#more(name));
    return line;
  }

  #more(name) {
    const button = make("button", "icon more");
    button.dataset.about = name;
    button.title = `More about ${clean(name)}`;
    button.ariaLabel = button.title;
    button.ariaHasPopup = "menu";
    button.append(icon("more"));
    return button;
  }

  hits(hits, next, isMore) {
    const nodes = hits.filter(isShown).map(hit => this.#hit(hit));
    if (!isMore) $("hits").replaceChildren();
    $("hits").querySelector(".notice")?.remove(); // all that came before may be hidden
    $("hits").append(...nodes);
    const count = $("hits").children.length;
    if (!count) $("hits").append(make("li", "whisper notice", "Nothing was found."));
    this.readOut(count ? `${count} found` : "Nothing was found.");
    const isWaitedFor = isMore && document.activeElement === $("more-hits");
    if (isWaitedFor) (nodes[0]?.firstElementChild ?? $("search").elements.words).focus();
    $("more-hits").hidden = next === undefined;
  }

  #hit(hit) {
    const button = make("button");
    Object.assign(button.dataset, { room: hit.room, jump: hit.seq });
    const where = make("span", "whisper", `${clean(new Room(hit.room, chat.me).title)} · ${dateTime(hit.at)}`);
    button.append(where, nameOf(hit.by), make("span", "text", oneLine(hit.text)));
    const line = make("li");
    line.append(button);
    return line;
  }

  // ------------------------------------------------ what calls

  news(room, { by, text }, isCall) {
    this.lists();
    const how = room.isPrivate ? "writes to you" : `calls you in ${clean(room.title)}`;
    if (isCall && room !== chat.open) this.readOut(`${clean(by)} ${how}`);
    const isSeen = document.visibilityState === "visible" && document.hasFocus();
    if (isCall && !isSeen && mayNotify()) this.#notify(room, by, text);
  }

  #notify(room, by, text) {
    const where = room.isPrivate ? "" : ` in ${room.title}`;
    const body = oneLine(text).slice(0, 200);
    try {
      const note = new Notification(clean(by + where), { body, tag: room.name, icon: "/icon.svg" });
      note.onclick = () => { window.focus(); this.room(room); note.close(); };
    } catch {
      // A telephone wants a service worker for that.
    }
  }
}

const isShown = item => !chat.attention.hides(item);

// What stands above all that is shown of a room.
function beginningOf(room) {
  if (!room) return "You are in no room. The + beside Rooms finds one, or makes it.";
  const { first, hasOlder, isIn, isPrivate, isPromised, title } = room;
  if (first > 1 && hasOlder) return "Earlier messages come when you scroll up.";
  if (!isIn && !isPromised) return "";
  if (!first) return "Nothing has been said here yet.";
  return `This is where ${isPrivate ? "what you two say" : clean(title)} begins.`;
}

function fillList(list, lines) {
  const isSo = lines.length === list.children.length && lines.every((line, at) => line === list.children[at]);
  if (isSo) return;
  const held = list.contains(document.activeElement) ? document.activeElement : null;
  list.replaceChildren(...lines);
  if (held?.isConnected) held.focus();
  else if (held) composer.focus();
}

function movesText(moves) {
  const groups = new Map();
  for (const { by, how } of moves) within(groups, how, () => []).push(by);
  return [...groups].flatMap(([how, names], at) => [at ? ", " : "", ...namesText(names), ` ${how}`]);
}

// All of a few names, and some of many.
function namesText(names) {
  const shown = names.length > NAMED + 1 ? names.slice(0, NAMED) : names;
  const parts = shown.map(nameOf);
  if (shown !== names) parts.push(`${names.length - NAMED} others`);
  return parts.flatMap((part, at) => [!at ? "" : at === parts.length - 1 ? " and " : ", ", part]);
}

function sorted(rooms) {
  return [...rooms].sort((a, b) => a.title.localeCompare(b.title));
}

function total(rooms, what) {
  return rooms.reduce((sum, room) => sum + room[what], 0);
}

const countOf = number => number > 99 ? "99+" : String(number);

function roomOfAddress() {
  try {
    return fold(decodeURIComponent(location.hash.slice(1))) || null;
  } catch {
    return null;
  }
}

// ---------------------------------------------------------------- what a person does

async function go(name) {
  let room = chat.rooms.get(fold(name));
  if (!room) {
    if (name.startsWith("@")) room = chat.roomWith(fold(name.slice(1)));
    else room = await chat.join(name, false);
  }
  if (room) show.room(room);
}

async function jump(room, seq) {
  if (chat.open !== room) show.room(room);
  show.uncover();
  for (let pages = 0; !show.point(seq) && room.hasOlder && pages < 20; pages += 1) {
    if (room.first && room.first <= seq) break;
    await hands.older();
  }
  if (!show.point(seq)) show.toast("That is too far back to be shown here.");
}

async function enterRoom(name, key) {
  const room = await chat.join(name, false, key);
  if (room) show.room(room);
}

function tell(name, ...text) {
  show.room(chat.roomWith(fold(name)));
  if (text.length) chat.say(chat.open, text.join(" "));
}

// Does something with a room that one is in.
function inRoom(name, what) {
  const room = chat.rooms.get(fold(name)) ?? (name.startsWith("@") ? chat.roomWith(fold(name.slice(1))) : null);
  if (room) what(room);
  else show.toast(`You are not in ${oneLine(name)}.`);
}

const leave = (name = chat.open.name) => inRoom(name, room => chat.part(room));
const switchTo = name => inRoom(name, room => show.room(room));

function act(request) {
  return chat.ask({ room: chat.open.name, ...request }).catch(refusal => show.toast(refusal.message));
}

// With a name, and then for how long or why, or both: /ban eve 7d too loud
const forAWhile = type => (name, ...why) => {
  const seconds = secondsOf(why[0]);
  const until = seconds ? new Date(Date.now() + seconds * 1000).toISOString() : undefined;
  act({ type, name, until, reason: (seconds ? why.slice(1) : why).join(" ") });
};

const SECONDS = { s: 1, m: 60, h: 3600, d: 86400, w: 7 * 86400 };
const LONGEST = 36525 * SECONDS.d; // as in ages.py

// 0 for what is no time.
function secondsOf(word) {
  const [, count, unit] = /^([0-9]{1,12})([smhdw])$/.exec(word) ?? [];
  const seconds = count * SECONDS[unit];
  return seconds <= LONGEST ? seconds : 0;
}

// What is wrong with a time that may be mistyped: it would be for ever.
function noTime(name, first = "") {
  if (!/^[0-9]/.test(first) || secondsOf(first)) return "";
  return `${first.slice(0, 12)} is no time: write a number and s, m, h, d or w, as in 7d.`;
}

const notMe = (name = "") => fold(name) === chat.me ? "That is you." : "";

function noAccess(access, key) {
  const isSo = access === "key" ? key : key === undefined && Object.hasOwn(ACCESS, access);
  return isSo ? "" : "It is public, or invitation, or key and the key.";
}

// Whom one does not want to hear any more, or which room; the second time one does, again.
function ignore(name) {
  const isOn = chat.toggle("ignored", fold(name));
  const text = isOn ? `You see nothing of ${oneLine(name)} any more.` : `You see what ${oneLine(name)} says again.`;
  show.toast(text, isOn ? "Undo" : "", () => ignore(name));
}

function mute(name) {
  const isOn = chat.toggle("muted", fold(name));
  const text = isOn ? `${oneLine(name)} is muted: it counts and calls for nothing.` : `${oneLine(name)} calls again.`;
  show.toast(text, isOn ? "Undo" : "", () => mute(name));
}

const restrict = (access, key) => act({ type: "restrict", access, key });
const setTopic = (...text) => act({ type: "topic", text: text.join(" ").replace(/^-$/, "") });
const kick = (name, ...why) => act({ type: "kick", name, reason: why.join(" ") });
const appoint = rank => name => act({ type: "appoint", name, rank });

// Called as at a terminal (client/commands.py), as far as a page has no better way: what it
// takes, what it is for, what it does, and what tells what is wrong with its words.
const COMMANDS = {
  join: ["ROOM [KEY]", "enter a room, or make it", enterRoom],
  leave: ["[ROOM]", "leave this room, or another one", leave],
  go: ["ROOM", "go to a room that you are in", switchTo],
  unread: ["", "go to the next room with something unread", () => hands.turn(1, true)],
  rooms: ["", "which rooms there are", () => finder.open("")],
  query: ["NAME", "go to the room of you two", name => tell(name)],
  msg: ["NAME [TEXT]", "write to one person, and nobody else", tell],
  topic: ["TEXT", "say what this room is about; - takes it away", setTopic],
  search: ["WORDS", "find what was said", (...words) => { show.beside("search"); hands.search(words.join(" ")); }],
  who: ["", "who is here", () => show.beside("members")],
  ignore: ["[NAME]", "don't show what somebody says; again: do", name => name ? ignore(name) : settings.open(), notMe],
  mute: ["[ROOM]", "don't be called by a room; again: do", name => name ? mute(name) : settings.open()],
  invite: ["NAME", "let somebody into this room, and say so", name => act({ type: "invite", name })],
  kick: ["NAME [WHY]", "put somebody out of this room", kick],
  ban: ["NAME [7d] [WHY]", "put somebody out, and keep out", forAWhile("ban"), noTime],
  unban: ["NAME", "let somebody come again", name => act({ type: "ban", name, off: true })],
  silence: ["NAME [1h] [WHY]", "let somebody listen and not speak", forAWhile("mute"), noTime],
  unsilence: ["NAME", "let somebody speak again", name => act({ type: "mute", name, off: true })],
  op: ["NAME", "make somebody a moderator of this room", appoint("moderator")],
  deop: ["NAME", "make somebody a mere member again", appoint("member")],
  owner: ["NAME", "make somebody an owner of this room", appoint("owner")],
  access: ["WHO [KEY]", "who gets in: public, invitation or key", restrict, noAccess],
  register: ["", "make your name yours, with a password", () => account.open()],
  password: ["", "have another password", () => account.open(true)],
  devices: ["", "where you are logged in", () => account.open()],
  help: ["", "this list", () => settings.open(true)],
};

const KEYS = [
  ["Enter", "send"],
  ["Shift+Enter", "begin a new line"],
  ["Up, in an empty field", "edit what you said last"],
  ["Esc", "never mind"],
  ["Tab", "complete a name or a command"],
  ["Ctrl+K", "go to a room or a person"],
  ["Alt+Up, Alt+Down", "the room above, or below"],
  ["Alt+Shift+Down", "the next room with something unread"],
  ["Ctrl+Shift+F", "search"],
  ["Page Up, Page Down", "read what was earlier, or later"],
  ["Shift+Tab, Up", "from the field to the messages"],
  ["Up, Down on a message", "the one before, or after"],
  ["R, E, +, Del on it", "reply, edit, react, delete"],
  ["Menu key on a name", "what else there is: mute, ignore, leave"],
];

const SIGNS = ["👍", "❤️", "😂", "🎉", "👀", "✅", "🙏", "😮", "😢", "🔥", "🚀", "🤔"];

// ------------------------------------------------ writing

// The field: what is typed is kept for each room as a draft, and becomes a text, an answer, an
// edit or a command.
class Composer {
  #about = null; // what is written about: kind (reply or edit), and item
  #completions = new Completions();

  constructor() {
    $("typed").addEventListener("input", () => { this.#changed(); this.#completions.offer(false); });
    $("typed").addEventListener("keydown", press => this.#key(press));
    window.addEventListener("resize", () => this.#grow());
    $("composer").addEventListener("submit", submission => { submission.preventDefault(); this.#send(); });
    $("about-not").onclick = () => this.writeAbout(null);
    $("completions").addEventListener("click", click => this.#completions.accept(click.target.closest("li")));
  }

  get isAboutSomething() {
    return this.#about !== null;
  }

  get isEditing() {
    return this.#about?.kind === "edit";
  }

  #key(press) {
    if (press.isComposing || this.#completions.take(press)) return;
    const isEmpty = $("typed").value === "";
    if (press.key === "Enter" && !press.shiftKey && !press.altKey) this.#send();
    else if (press.key === "ArrowUp" && isEmpty && !press.altKey) this.#editLast();
    else if (press.key === "Tab" && !press.shiftKey && this.#completions.offer(true)) { /* done */ }
    else if (press.key === "Escape" && this.#about) { press.stopPropagation(); this.writeAbout(null); }
    else return;
    press.preventDefault();
  }

  #editLast() {
    const own = chat.open?.items.findLast(item => item.kind === "say" && item.by === chat.me && !item.isGone);
    if (own) this.writeAbout("edit", own);
  }

  writeAbout(kind, item = null) {
    const wasEdit = this.isEditing;
    this.#tellAbout(kind ? { kind, item } : null);
    if (kind === "edit") this.put(item.text);
    else if (wasEdit) this.#restore();
    $("typed").focus();
  }

  #tellAbout(about) {
    this.#about = about;
    $("about").hidden = !about;
    const { kind, item } = about ?? {};
    $("about-text").textContent = kind === "edit" ? "Edit your message"
      : kind === "reply" ? `Reply to ${clean(item.by)}: ${oneLine(item.text).slice(0, 120)}` : "";
  }

  put(text) {
    $("typed").value = text;
    this.#changed();
    $("typed").focus();
  }

  // It goes before what is typed by now.
  putBack(text) {
    const typed = $("typed").value;
    this.put(typed ? `${text}\n${typed}` : text);
  }

  #changed() {
    this.#grow();
    this.keep();
    this.#measure();
  }

  #send() {
    const text = $("typed").value.replace(/^\n+|\s+$/g, "");
    const about = this.#about;
    if (!text || !chat.open || !this.#fits(text)) return;
    // Whatever stands before it, after it or beside it: what was meant for one is not said to all.
    if (!this.isEditing && /^\s*\/(?!\/)/.test(text)) {
      this.#command(text.trimStart());
    } else if (this.isEditing) {
      this.#edit(chat.open, about.item, text);
    } else {
      this.#tellAbout(null);
      this.put("");
      chat.say(chat.open, text.replace(/^\/\//, "/"), about?.item.seq);
      show.toEnd();
    }
  }

  // An edit is not pending, as a new text would be: if it fails, it is here again.
  async #edit(room, item, text) {
    this.writeAbout(null);
    try {
      await chat.ask({ type: "edit", room: room.name, seq: item.seq, text });
    } catch (refusal) {
      show.toast(refusal.message);
      if (chat.open !== room || $("typed").value) return;
      this.writeAbout("edit", item);
      this.put(text);
    }
  }

  #command(text) {
    const [typed, ...words] = text.slice(1).split(/ +|(?<=^\S+)\s+/); // the lines of a text stay
    const name = typed.toLowerCase();
    const [takes = "", , run, whatIsWrong] = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : [];
    if (/^\[?NAME/.test(takes)) words[0] = words[0]?.replace(/^@/, "");
    if (["register", "password"].includes(name)) words.length = 0; // a password slips in there
    const trouble = !run ? `There is no command /${oneLine(typed)}; /help lists them, //… says a text with a slash.`
      : !this.#fitsUse(takes, words) ? `It is used like this: /${name} ${takes}`
      : whatIsWrong?.(...words) || (chat.isConnected ? "" : "There is no connection; try again in a moment.");
    if (trouble) {
      this.#hint(trouble);
      return;
    }
    this.put("");
    run(...words);
  }

  // A word for each that it takes; one in brackets may be left out, and some take all the rest.
  #fitsUse(takes, words) {
    const kinds = takes.split(" ").filter(Boolean);
    const needed = kinds.filter(kind => !kind.startsWith("[")).length;
    const isText = /(TEXT|WORDS|WHY)\]?$/.test(takes);
    return words.filter(Boolean).length >= needed && (isText || words.length <= kinds.length);
  }

  #hint(text, isRefusal = true) {
    $("hint").textContent = text;
    $("hint").classList.toggle("refusal", isRefusal);
  }

  // A text that is too long would end the connection: it is not sent at all.
  #fits(text) {
    const isWide = bytesOf(JSON.stringify(text)) > chat.limits.line - 1000;
    return bytesOf(text) <= chat.limits.text && !isWide;
  }

  #measure() {
    const size = bytesOf($("typed").value);
    const most = chat.limits.text;
    const isNear = size > most * 0.8;
    this.#hint(isNear ? `${size.toLocaleString()} of ${most.toLocaleString()} bytes` : "", size > most);
    $("send").disabled = !chat.open || size > most;
  }

  #grow() {
    const typed = $("typed");
    typed.style.height = "auto";
    typed.style.height = `${typed.scrollHeight}px`;
    if (show.isAtEnd) show.toEnd();
  }

  // What is half typed in each room, for after a reload.
  get #drafts() {
    return kept.get(`drafts:${chat.me}`, {});
  }

  #keepDraft(room, text) {
    kept.set(`drafts:${chat.me}`, { ...this.#drafts, [room]: text || undefined });
  }

  // Not a command: it may have a key in it or, by a slip of the finger, a password.
  keep() {
    if (!chat.open || !chat.me || this.isEditing) return;
    const text = $("typed").value;
    this.#keepDraft(chat.open.name, SECRET.test(text) ? "" : text);
  }

  // A room has got its full name.
  rename(short, full) {
    if (this.#drafts[short]) this.#keepDraft(full, this.#drafts[short]);
    this.#keepDraft(short, "");
  }

  take() {
    this.#tellAbout(null);
    this.#restore();
    this.#completions.hide();
    this.focus();
  }

  // Where one touches, that would bring up the keyboard, which is for who taps the field.
  focus() {
    if (isTouched() || !chat.open) focusLog();
    else $("typed").focus();
  }

  #restore() {
    $("typed").value = (chat.open && this.#drafts[chat.open.name]) ?? "";
    this.#grow();
    this.#measure();
  }
}

const SECRET = /^\s*\/(?!\/|msg\s|topic\s|search\s)/;
const isTouched = () => matchMedia("(pointer: coarse)").matches;
const focusLog = () => $("log").focus({ focusVisible: false });

// The focus stays in the field; a screen reader is told which line of the list is chosen.
function pointAt(field, list, chosen) {
  [...list.children].forEach((line, at) => {
    line.id = `${list.id}-${at}`;
    line.ariaSelected = String(line === chosen);
  });
  if (chosen) field.setAttribute("aria-activedescendant", chosen.id);
  else field.removeAttribute("aria-activedescendant");
}

// The list above the field: commands, or who could be meant.
class Completions {
  #choice = 0;

  hide() {
    $("completions").hidden = true;
    pointAt($("typed"), $("completions"), null);
  }

  offer(isAsked) {
    const typed = $("typed");
    const before = typed.value.slice(0, typed.selectionStart);
    const [, start, word] = /^([\s\S]*?)(\S*)$/.exec(before);
    const options = !start && /^\/\w*$/.test(word) ? this.#commands(word) : this.#names(start, word, isAsked);
    this.#choice = 0;
    $("completions").replaceChildren(...options.slice(0, 8).map(option => this.#line(option)));
    $("completions").hidden = !options.length;
    this.#choose(0);
    if (isAsked && options.length === 1) this.accept($("completions").firstElementChild);
    return options.length > 0;
  }

  #commands(word) {
    const fitting = Object.entries(COMMANDS).filter(([name]) => `/${name}`.startsWith(word));
    return fitting.map(([name, [takes, note]]) => {
      return { word, text: `/${name}${takes && " "}`, note, label: `/${name} ${takes}` };
    });
  }

  #names(start, word, isAsked) {
    const part = word.replace(/^@/, "");
    if (!chat.open || (word === part && !isAsked) || (!part && word === part)) return [];
    const names = new Set([...chat.open.members.keys(), ...chat.open.items.slice(-200).map(item => item.by)]);
    return [...names].filter(name => name && name !== chat.me && name.startsWith(fold(part)))
      .map(name => ({ word, text: start ? `${name} ` : `${name}: `, note: "", label: name }));
  }

  #line({ word, text, note, label }) {
    const line = make("li", "", clean(label));
    line.role = "option";
    if (note) line.append(make("span", "whisper", note));
    Object.assign(line.dataset, { word, text });
    return line;
  }

  #choose(step) {
    const lines = $("completions").children;
    this.#choice = lines.length && (this.#choice + step + lines.length) % lines.length;
    pointAt($("typed"), $("completions"), lines[this.#choice]);
  }

  // Returns whether the key was for these.
  take(press) {
    if ($("completions").hidden) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[press.key];
    const chosen = $("completions").children[this.#choice];
    if (step) this.#choose(step);
    else if (press.key === "Tab" || (press.key === "Enter" && this.#isPart(press, chosen))) this.accept(chosen);
    else if (press.key === "Escape") this.hide();
    else return false;
    press.preventDefault();
    press.stopPropagation();
    return true;
  }

  // Enter completes a first word that is not whole; what is whole, it sends.
  #isPart(press, chosen) {
    const typed = $("typed").value;
    return !press.shiftKey && !/\s/.test(typed) && chosen?.dataset.text.trim() !== typed;
  }

  accept(line) {
    if (!line) return;
    const typed = $("typed");
    const { word, text } = line.dataset;
    const end = typed.selectionStart;
    typed.setRangeText(text, end - word.length, end, "end");
    typed.dispatchEvent(new Event("input"));
    this.hide();
    typed.focus();
  }
}

// ------------------------------------------------ going somewhere

// Any room or person by a part of the name, also such as there are not yet.
class Finder {
  #known = []; // the rooms of the server
  #input = $("finder").querySelector("input");

  constructor() {
    this.#input.addEventListener("input", () => this.#find());
    this.#input.addEventListener("keydown", press => this.#key(press));
    $("found").addEventListener("click", click => this.#go(click.target.closest("li")));
  }

  // Of what another person could see.
  forget() {
    this.#known = [];
    this.#input.value = "";
  }

  async open(start) {
    this.#input.value = start;
    $("finder-title").textContent = start === "@" ? "Write to" : "Go to a room or a person";
    $("finder").showModal();
    this.#find();
    const replies = await chat.ask({ type: "rooms" }).catch(() => []);
    this.#known = replies.flatMap(reply => reply.rooms);
    this.#find();
  }

  #find() {
    const typed = fold(this.#input.value);
    const isPerson = typed.startsWith("@");
    const part = typed.replace(/^[@#]/, "");
    const places = isPerson ? [] : this.#places(part).slice(0, 30);
    const options = [...places, ...this.#people(part).slice(0, isPerson ? 30 : 5)];
    if (part && !options.some(option => option.title === part)) options.push(this.#unknown(part, isPerson));
    $("found").replaceChildren(...options.map(option => this.#line(option)));
    this.#choose(0, true);
    $("finder-hint").textContent = isPerson ? "Only the two of you can read it." : "@ and a name writes to a person.";
  }

  #unknown(part, isPerson) {
    return { go: isPerson ? `@${part}` : part, title: part, note: isPerson ? "write to" : "make this room", isPerson };
  }

  #places(part) {
    const mine = [...chat.rooms.values()].filter(room => !room.isPrivate)
      .map(room => ({ go: room.name, title: room.title, note: "you are in" }));
    const others = this.#known.filter(({ room }) => !room.startsWith("@") && !chat.rooms.has(room))
      .sort((one, other) => other.members - one.members)
      .map(room => ({ go: room.room, title: room.room, note: noteOf(room) }));
    return [...mine, ...others].filter(room => room.title.includes(part));
  }

  #people(part) {
    const rooms = [...chat.rooms.values()];
    const written = rooms.filter(room => room.isPrivate).map(room => room.title);
    const names = new Set([...written, ...rooms.flatMap(room => [...room.members.keys()])]);
    names.delete(chat.me);
    const fitting = [...names].filter(name => name.includes(part)).sort();
    return fitting.map(name => ({ go: `@${name}`, title: name, note: "", isPerson: true }));
  }

  #line({ go: place, title, note, isPerson }) {
    const line = make("li");
    line.role = "option";
    line.dataset.go = place;
    line.append(...placeOf(title, isPerson), make("span", "whisper", note));
    return line;
  }

  #choose(step, isAnew = false) {
    const lines = [...$("found").children];
    const at = isAnew ? 0 : lines.findIndex(line => line.ariaSelected === "true");
    const to = lines.length ? (at + step + lines.length) % lines.length : 0;
    pointAt(this.#input, $("found"), lines[to]);
    lines[to]?.scrollIntoView({ block: "nearest" });
  }

  #key(press) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[press.key];
    if (step) this.#choose(step);
    else if (press.key === "Enter") this.#go($("found").querySelector("[aria-selected=true]"));
    else return;
    press.preventDefault();
  }

  #go(line) {
    $("finder").close();
    if (line) go(line.dataset.go);
  }
}

const noteOf = ({ members, access }) => `${members} here${access && access !== "public" ? `, by ${access}` : ""}`;

// ------------------------------------------------ what there is to do with a person or a room

// Each line of it is one deed. Esc, Tab or a click beside it puts it away, which the browser
// knows by itself.
class Menu {
  #ways = []; // what each line does

  constructor() {
    $("room-menu").onclick = () => this.#ofRoom(chat.open, $("room-menu"));
    $("members").addEventListener("click", ({ target }) => {
      const more = target.closest("[data-about]");
      if (more) this.#ofPerson(more.dataset.about, more);
    });
    $("messages").addEventListener("click", ({ target }) => {
      if (target.matches(".head .by")) this.#ofPerson(target.dataset.name, target);
    });
    for (const part of ["side", "members"]) $(part).addEventListener("contextmenu", asked => this.#offer(asked));
    $("menu-ways").addEventListener("click", ({ target }) => this.#choose(target.closest("button")));
    $("menu").addEventListener("keydown", press => this.#key(press));
  }

  // As by the right button of the mouse, a long touch, or the key for it.
  #offer(asked) {
    const line = asked.target.closest("[data-room], [data-person]");
    if (!line || line.dataset.person === chat.me) return;
    asked.preventDefault();
    if (line.dataset.room) this.#ofRoom(chat.rooms.get(line.dataset.room), line);
    else this.#ofPerson(line.dataset.person, line);
  }

  #ofPerson(name, beside) {
    if (name === chat.me) return;
    this.#open(clean(name), [
      [`Write to ${clean(name)}`, () => show.room(chat.roomWith(name))],
      this.#ignoring(name),
    ], beside);
  }

  #ofRoom(room, beside) {
    const muting = [chat.attention.muted.has(room.short) ? "Unmute" : "Mute", () => mute(room.short)];
    const leaving = [room.isPrivate ? "Put away" : "Leave this room", () => chat.part(room)];
    const ignoring = room.isPrivate ? [this.#ignoring(room.title)] : [];
    this.#open(clean(room.title), [muting, ...ignoring, leaving], beside);
  }

  #ignoring(name) {
    const isIgnored = chat.attention.ignored.has(name);
    return [isIgnored ? `Show what ${clean(name)} says` : `Ignore ${clean(name)}`, () => ignore(name)];
  }

  #open(title, ways, beside) {
    this.#ways = ways.map(([, act]) => act);
    $("menu-title").textContent = title;
    const lines = ways.map(([label]) => Object.assign(make("button", "", label), { role: "menuitem" }));
    $("menu-ways").replaceChildren(...lines);
    $("menu").showPopover();
    this.#place(beside.getBoundingClientRect());
    $("menu-ways").firstElementChild.focus();
  }

  // Below what it is about, or above where there is no room.
  #place({ left, right, top, bottom }) {
    const { offsetWidth: width, offsetHeight: height, style } = $("menu");
    style.left = `${Math.max(8, left + width + 8 > innerWidth ? right - width : left)}px`;
    style.top = `${Math.max(8, bottom + height + 8 > innerHeight ? top - height : bottom)}px`;
  }

  #choose(button) {
    if (!button) return;
    const act = this.#ways[[...$("menu-ways").children].indexOf(button)];
    $("menu").hidePopover(); // the focus goes back, and from there wherever the deed takes it
    act();
  }

  #key(press) {
    const lines = [...$("menu-ways").children];
    const at = lines.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1 + lines.length, Home: 0, End: lines.length - 1 }[press.key];
    if (next !== undefined) lines[next % lines.length].focus();
    else if (press.key === "Tab") $("menu").hidePopover();
    else return;
    press.preventDefault();
  }
}

// ------------------------------------------------ what one prefers

// What is chosen holds once the dialog is closed, however that is done.
class Settings {
  #form = $("settings").querySelector("form");

  constructor() {
    $("settings-open").onclick = () => this.open();
    $("quieted").addEventListener("click", click => this.#hearAgain(click.target.dataset));
    $("account-open").onclick = () => { $("settings").close(); account.open(); };
    $("sign-out").onclick = () => { $("settings").close(); this.#signOut(); };
    this.#form.elements.notify.addEventListener("change", () => this.#askLeave());
    $("settings").addEventListener("close", () => this.#closed());
  }

  open(isHelp = false) {
    const { theme, notify, words } = this.#form.elements;
    theme.value = kept.get("theme", "auto");
    notify.checked = mayNotify();
    words.value = chat.attention.words.join(", ");
    this.#listQuieted();
    $("notify-hint").textContent = canNotify ? "" : "This browser notifies only over https, or on this machine.";
    notify.disabled = !canNotify;
    const whose = chat.hasAccount ? "registered, and yours" : "yours as long as you are here";
    $("whose").textContent = `${chat.me} is ${whose}.`;
    $("account-open").textContent = chat.hasAccount ? "Password and devices" : "Register the name";
    $("keys").replaceChildren(...this.#keys());
    $("settings").querySelector("details").open = isHelp;
    $("settings").showModal();
  }

  #keys() {
    const commands = Object.entries(COMMANDS).map(([name, [takes, help]]) => [`/${name} ${takes}`, help]);
    return [...KEYS, ...commands].flatMap(([key, what]) => [make("dt", "", key), make("dd", "", what)]);
  }

  // Who is ignored, and what is muted, each with the way back.
  #listQuieted() {
    const { ignored, muted } = chat.attention;
    $("quieted").replaceChildren(
      ...[...ignored].map(name => this.#quieted("ignored", name)),
      ...[...muted].map(name => this.#quieted("muted", name)),
    );
    $("quieted-title").hidden = !$("quieted").children.length;
  }

  #quieted(list, name) {
    const isPerson = list === "ignored" || name.startsWith("@");
    const button = make("button", "", list === "ignored" ? "Show again" : "Unmute");
    Object.assign(button, { type: "button", ariaLabel: `${button.textContent}: ${clean(name)}` });
    Object.assign(button.dataset, { list, name });
    const line = make("li");
    line.append(...placeOf(name.replace(/^@/, ""), isPerson), make("span", "whisper", list), button);
    return line;
  }

  #hearAgain({ list, name }) {
    if (!list) return;
    chat.toggle(list, name);
    this.#listQuieted();
    ($("quieted").querySelector("button") ?? this.#form.querySelector(".main")).focus();
  }

  // Browsers let a page ask only while somebody clicks, and once.
  async #askLeave() {
    const { notify } = this.#form.elements;
    if (!notify.checked || await Notification.requestPermission() === "granted") return;
    notify.checked = false;
    $("notify-hint").textContent = "The browser does not permit it; its own settings for this page do.";
  }

  #closed() {
    const { theme, notify, words } = this.#form.elements;
    kept.set("theme", theme.value);
    setTheme();
    chat.attention.words = words.value.split(/[,\s]+/).filter(Boolean).slice(0, 20);
    chat.attention.keep();
    kept.set("notify", notify.checked);
    this.#form.reset();
  }

  #signOut() {
    const why = chat.hasAccount ? "Log out? This browser needs the password again then."
      : "Leave? The name is free for others then.";
    show.confirm(why, chat.hasAccount ? "Log out" : "Leave", async () => {
      await chat.leave();
      history.replaceState(null, "", "#");
      $("enter").reset();
      show.door();
    });
  }
}

const canNotify = typeof Notification !== "undefined" && isSecureContext;
const mayNotify = () => canNotify && Notification.permission === "granted" && kept.get("notify", false);

function setTheme() {
  const theme = kept.get("theme", "auto");
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

// ------------------------------------------------ a name of one's own

// A password goes from its field to the server, and is nowhere once it is sent.
class Account {
  #form = $("own");

  constructor() {
    $("me-open").onclick = () => this.open();
    $("account-close").onclick = () => $("account").close();
    $("account").addEventListener("close", () => this.#form.reset());
    this.#form.addEventListener("submit", submission => { submission.preventDefault(); this.#own(); });
    $("device-list").addEventListener("click", click => this.#throwOut(click.target.dataset.device));
  }

  open(isPassword = false) {
    this.#show();
    $("change").parentElement.open = isPassword || !chat.hasAccount;
    $("account").showModal();
  }

  #show() {
    const isOwn = chat.hasAccount;
    $("account-title").textContent = isOwn ? `${chat.me} is yours` : `Make ${chat.me} yours`;
    $("account-text").textContent = isOwn ? "This browser comes in without the password until it is logged out."
      : "With a password, nobody else can have this name, and you have it on all your devices.";
    for (const part of ["devices", "old-field", "change"]) $(part).hidden = !isOwn;
    $("own-it").textContent = isOwn ? "Change the password" : "Register";
    this.#form.elements.username.value = chat.me;
    this.#form.elements.old.required = isOwn;
    this.#refuse("");
    if (isOwn) this.#list();
  }

  async #own() {
    const { old, fresh, again } = this.#form.elements;
    if (fresh.value !== again.value) {
      this.#refuse("These are two different passwords.");
      return;
    }
    const request = { type: "register", password: fresh.value, old: chat.hasAccount ? old.value : undefined };
    const told = chat.hasAccount ? "You have another password."
      : `${chat.me} is yours. At another device you need the password.`;
    this.#form.reset();
    await this.#try(request, told);
  }

  async #try(request, told) {
    $("own-it").disabled = true;
    try {
      await chat.ask(request);
      chat.owned();
      $("account").close();
      show.toast(told);
    } catch (refusal) {
      this.#refuse(refusal.message);
    } finally {
      $("own-it").disabled = false;
    }
  }

  #refuse(text) {
    $("account-refused").textContent = text;
  }

  async #list() {
    $("device-list").replaceChildren();
    const [reply] = await chat.ask({ type: "devices" }).catch(() => []);
    const devices = reply?.devices.reverse() ?? []; // those that came last, first; before them, this one
    devices.sort((one, other) => Boolean(other.this) - Boolean(one.this));
    $("device-list").replaceChildren(...devices.map(device => this.#line(device)));
  }

  #line(device) {
    const line = make("li");
    const seen = device.this ? "this one" : device.here ? "here now" : `seen ${dateTime(device.since)}`;
    line.append(make("span", "", oneLine(device.client ?? "a program without a name")), make("span", "whisper", seen));
    if (device.this) return line;
    const button = make("button", "danger", "Log out");
    button.dataset.device = device.device;
    button.setAttribute("aria-label", `Log out ${oneLine(device.client ?? "")}, ${seen}`);
    line.append(button);
    return line;
  }

  async #throwOut(device) {
    if (device === undefined) return;
    await chat.ask({ type: "revoke", device }).catch(refusal => this.#refuse(refusal.message));
    await this.#list();
    // It went with the list; and not to what throws out the next one.
    if (document.activeElement === document.body) $("account-close").focus();
  }
}

// ------------------------------------------------ all the rest

// Whatever is clicked, touched, scrolled or pressed outside of a field, and what is looked at.
class Hands {
  #asked = null; // the page of history that is on its way
  #searched = null;
  #target = null; // the message that is acted upon
  #signed = []; // the message that a sign is chosen for, and its room
  #marking = null;

  constructor() {
    this.#door();
    this.#places();
    this.#log();
    this.#beside();
    this.#dialogs();
    this.#keys();
    this.#sight();
  }

  #door() {
    $("enter").addEventListener("submit", submission => {
      submission.preventDefault();
      const { name, password, room } = $("enter").elements;
      history.replaceState(null, "", `#${encodeURIComponent(room.value.trim())}`);
      const typed = { name: name.value.trim(), password: password.value || undefined, room: room.value.trim() };
      chat.enter({ ...tokenOf(name.value), ...typed });
      password.value = "";
    });
  }

  #places() {
    $("side").addEventListener("click", click => {
      const place = click.target.closest("[data-room]");
      if (place) show.room(chat.rooms.get(place.dataset.room));
    });
    $("browse").onclick = () => finder.open("");
    $("write").onclick = () => finder.open("@");
    $("side-open").onclick = () => show.drawer(true);
    $("side-close").onclick = () => show.drawer(false);
    $("app").addEventListener("click", ({ target }) => { if (target === $("app")) show.drawer(false); });
    matchMedia("(max-width: 720px)").addEventListener("change", () => show.drawer(false));
    document.querySelector(".skip").onclick = click => {
      click.preventDefault(); // an address with a # is that of a room
      $("typed").focus();
    };
    window.addEventListener("hashchange", () => { if (chat.me && roomOfAddress()) go(roomOfAddress()); });
  }

  // ------------------------------------------------ the log

  #log() {
    $("log").addEventListener("scroll", () => {
      show.scrolled();
      this.fill();
    }, { passive: true });
    $("down").onclick = () => { show.toEnd(); composer.focus(); };
    $("log").addEventListener("click", click => this.#clicked(click.target));
    // What came up before a tap has ended would be hit by it, or move what is tapped.
    const offer = ({ target }) => this.#offer(target.closest(".message[data-seq]"));
    $("messages").addEventListener("pointerover", over => { if (over.pointerType !== "touch") offer(over); });
    $("messages").addEventListener("focusin", focus => { if (!isTouched()) offer(focus); });
    $("messages").addEventListener("click", offer);
    $("actions").addEventListener("click", click => {
      const action = click.target.closest("[data-do]")?.dataset.do;
      if (action) this.#do(action, this.#target);
    });
  }

  // What was earlier comes before one is at the top; also where too little is shown for a
  // scroll, which is so as long as there is but what has no line of its own.
  fill() {
    if (chat.open?.first && $("log").scrollTop < NEAR_TOP) this.older();
  }

  // One page at a time: whoever else wants one waits for that.
  async older() {
    const room = chat.open;
    if (!room?.hasOlder || !room.isIn || !chat.isConnected || room.first === 1) return;
    this.#asked ??= this.#askOlder(room);
    await this.#asked;
  }

  async #askOlder(room) {
    try {
      const items = await chat.older(room);
      if (chat.open === room) show.older(items);
    } catch {
      return; // there is none now; who scrolls on asks again
    } finally {
      this.#asked = null;
    }
    this.fill();
  }

  #clicked(target) {
    const { fate, id } = target.closest("[data-fate]")?.dataset ?? {};
    if (fate === "again") { chat.sayAgain(id); composer.focus(); }
    if (fate === "back") this.#takeBack(id);
    const said = target.closest("[data-jump]");
    if (said) jump(chat.open, Number(said.dataset.jump));
    const sign = target.closest("[data-sign]")?.dataset.sign;
    if (sign) this.#react(this.#itemAt(target), sign);
  }

  #takeBack(id) {
    const saying = chat.pending.find(one => one.id === id);
    if (!composer.isEditing) {
      chat.settle(id);
      composer.putBack(saying.text);
    } else show.toast("Finish what you edit first.");
  }

  #itemAt(target) {
    return chat.open.says.get(Number(target.closest("[data-seq]")?.dataset.seq));
  }

  // The buttons stand beside the message that the pointer or the focus is on.
  #offer(node) {
    if (!node || node.contains($("actions"))) return;
    const item = this.#itemAt(node);
    if (!item || item.isGone) return;
    this.#target = item;
    $("actions").hidden = false;
    const isOwn = item.by === chat.me;
    $("actions").querySelector("[data-do=edit]").hidden = !isOwn;
    $("actions").querySelector("[data-do=delete]").hidden = !isOwn && !this.#isModerator();
    node.append($("actions"));
  }

  #isModerator() {
    return Boolean(chat.open.members.get(chat.me));
  }

  #do(action, item) {
    if (!item || item.isGone) return;
    if (action === "reply") composer.writeAbout("reply", item);
    if (action === "edit" && item.by === chat.me) composer.writeAbout("edit", item);
    if (action === "react") this.#chooseSign(item);
    if (action === "delete" && (item.by === chat.me || this.#isModerator())) this.#delete(item);
  }

  #delete(item) {
    const room = chat.open.name; // another one may be open when it is confirmed
    show.confirm("Delete this message?", "Delete", () => act({ type: "delete", room, seq: item.seq }));
  }

  #react(item, sign, room = chat.open) {
    const [, names] = room.signsAt(item.seq).find(([one]) => one === sign) ?? [];
    const off = names?.includes(chat.me) || undefined;
    act({ type: "react", room: room.name, seq: item.seq, sign, off });
  }

  #chooseSign(item) {
    this.#signed = [item, chat.open];
    $("signs").showModal();
  }

  // ------------------------------------------------ beside

  #beside() {
    $("members-open").onclick = () => show.beside($("members").hidden ? "members" : null);
    $("search-open").onclick = () => show.beside($("search").hidden ? "search" : null);
    $("beside-close").onclick = () => show.beside(null);
    // Where it lies over the room, whoever goes on there has done with it.
    document.querySelector("main").addEventListener("pointerdown", () => show.uncover());
    $("members").addEventListener("click", click => {
      const name = click.target.closest("[data-person]")?.dataset.person;
      if (name && name !== chat.me) show.room(chat.roomWith(name));
    });
    $("search").addEventListener("submit", submission => {
      submission.preventDefault();
      this.search($("search").elements.words.value);
    });
    $("more-hits").onclick = () => this.#searchOn();
    $("hits").addEventListener("click", click => {
      const hit = click.target.closest("[data-jump]");
      if (hit) this.#goToHit(hit.dataset.room, Number(hit.dataset.jump));
    });
  }

  async search(words) {
    $("search").elements.words.value = words;
    const isHere = $("search").elements.here.checked;
    this.#searched = { type: "search", words, room: isHere ? chat.open?.name : undefined };
    await this.#searchOn();
  }

  async #searchOn() {
    const isMore = this.#searched.before !== undefined;
    try {
      const [found] = await chat.ask(this.#searched);
      this.#searched.before = found.next;
      show.hits(found.hits, found.next, isMore);
    } catch (refusal) {
      show.toast(refusal.message);
    }
  }

  async #goToHit(name, seq) {
    let room = chat.rooms.get(name);
    if (!room?.isIn) room = await chat.join(name, false);
    if (room) await jump(room, seq);
  }

  // ------------------------------------------------ dialogs

  #dialogs() {
    $("palette").append(...SIGNS.map(sign => Object.assign(make("button", "", sign), { value: sign })));
    $("signs").addEventListener("submit", ({ submitter }) => this.#chosen(submitter));
    $("signs").addEventListener("close", () => { $("signs").querySelector("form").reset(); $("typed").focus(); });
    $("asleep").addEventListener("close", () => { if (chat.identity) chat.enter(kept.get("me", chat.identity)); });
    $("asleep").addEventListener("cancel", cancel => cancel.preventDefault());
  }

  #chosen(submitter) {
    const sign = $("signs").querySelector("input").value.trim() || submitter?.value;
    const [item, room] = this.#signed;
    if (sign && item) this.#react(item, sign, room);
  }

  // ------------------------------------------------ keys

  #keys() {
    const hasPopovers = CSS.supports("selector(:popover-open)");
    const open = hasPopovers ? "dialog[open], :popover-open" : "dialog[open]"; // what has the keys itself
    document.addEventListener("keydown", press => {
      if ($("app").hidden || document.querySelector(open)) return;
      const isControl = press.ctrlKey || press.metaKey;
      if (isControl && press.key.toLowerCase() === "k") finder.open("");
      else if (isControl && press.shiftKey && press.key.toLowerCase() === "f") show.beside("search");
      else if (press.altKey && press.key === "ArrowUp") this.turn(-1, press.shiftKey);
      else if (press.altKey && press.key === "ArrowDown") this.turn(1, press.shiftKey);
      else if (press.key === "Escape") this.#escape();
      else if (this.#messageKey(press)) { /* done */ }
      else { this.#startTyping(press); return; }
      press.preventDefault();
    });
  }

  turn(step, isUnread) {
    const places = [...document.querySelectorAll("#side [data-room]")].map(place => chat.rooms.get(place.dataset.room));
    const at = places.indexOf(chat.open);
    for (let count = 1; count <= places.length; count += 1) {
      const room = places[(at + step * count + places.length * count) % places.length];
      if (room && (!isUnread || (room.unread && !chat.attention.isMuted(room)))) {
        show.room(room);
        return;
      }
    }
  }

  #escape() {
    if ($("toast").contains(document.activeElement)) show.answered();
    else if ($("side").classList.contains("open")) show.drawer(false);
    else if (!$("beside").hidden) show.beside(null);
    else if (composer.isAboutSomething) composer.writeAbout(null);
    else { show.toEnd(); $("typed").focus(); }
  }

  #messageKey(press) {
    const node = document.activeElement;
    if (press.ctrlKey || press.metaKey || press.altKey) return false;
    if (node === $("log") && press.key === "ArrowUp") return this.#enterLog();
    const message = node?.closest(".message[data-seq]");
    if (!message) return false;
    const action = node === message && { r: "reply", e: "edit", "+": "react", Delete: "delete" }[press.key];
    const step = { ArrowUp: "previousElementSibling", ArrowDown: "nextElementSibling" }[press.key];
    if (action) this.#do(action, this.#itemAt(node));
    else if (step && node !== message) message.focus();
    else if (step) this.#walk(node, step);
    else return false;
    return true;
  }

  // The newest message that is in sight.
  #enterLog() {
    const end = $("log").getBoundingClientRect().bottom;
    const messages = [...$("messages").querySelectorAll(".message")];
    messages.findLast(node => node.getBoundingClientRect().top < end)?.focus();
    return true;
  }

  #walk(node, step) {
    let next = node[step];
    while (next && !next.matches(".message")) next = next[step];
    if (next) next.focus();
    else if (step === "nextElementSibling") $("typed").focus();
  }

  // Whoever begins to type means the message, wherever the focus is.
  #startTyping(press) {
    const isText = press.key.length === 1 && !press.ctrlKey && !press.metaKey && !press.altKey;
    const isElsewhere = !document.activeElement?.matches("input, textarea, button, a, summary");
    if (press.target === $("typed") && press.key === "PageUp") $("log").scrollBy(0, -$("log").clientHeight * 0.9);
    else if (press.target === $("typed") && press.key === "PageDown") $("log").scrollBy(0, $("log").clientHeight * 0.9);
    else if (isText && isElsewhere) $("typed").focus();
  }

  // ------------------------------------------------ what is seen

  #sight() {
    document.addEventListener("visibilitychange", () => this.#lookedAway());
    window.addEventListener("blur", () => this.#lookedAway());
    window.addEventListener("focus", () => this.mark());
    window.addEventListener("online", () => chat.link.retry(0));
    window.addEventListener("pagehide", () => composer.keep());
    const sizes = new ResizeObserver(() => { if (show.isAtEnd) show.toEnd(); });
    for (const part of ["log", "messages", "waiting"]) sizes.observe($(part));
  }

  #lookedAway() {
    const room = chat.open;
    if (!document.hasFocus() && room && show.isAtEnd && room.newAfter === null) room.newAfter = room.last;
    this.mark();
  }

  // What is on the screen of somebody who looks at it has been read.
  mark() {
    this.#marking ??= setTimeout(() => this.markNow(), 300);
  }

  markNow() {
    clearTimeout(this.#marking);
    this.#marking = null;
    const isSeen = document.hasFocus() && document.visibilityState === "visible" && show.isAtEnd;
    if (isSeen && chat.open && chat.isConnected) chat.mark(chat.open);
  }
}

// ---------------------------------------------------------------- the beginning

let chat, show, composer, finder, settings, account, hands, tabs;

function begin() {
  setTheme();
  chat = new Chat();
  show = new Show();
  composer = new Composer();
  finder = new Finder();
  settings = new Settings();
  account = new Account();
  hands = new Hands();
  new Menu();
  tabs = new Tabs();
  const me = kept.get("me", null);
  if (me) comeBack(me);
  else show.door();
  startClock(() => chat.link.tick());
}

function comeBack(me) {
  chat.enter({ ...me, room: roomOfAddress() ?? me.room });
  setTimeout(() => { if (!chat.me && chat.identity) show.door(); }, 1000); // or there is nothing to be seen
}

// The timers of a page that is not looked at are slowed down to one a minute, which the server
// would take for silence; those of a worker are not.
function startClock(tick) {
  try {
    const clock = new Worker(ownScript());
    clock.onmessage = tick;
    clock.onerror = () => setInterval(tick, 1000);
  } catch {
    setInterval(tick, 1000);
  }
}

function ownScript() {
  const address = "/chat.js";
  const policy = globalThis.trustedTypes?.createPolicy("clock", { createScriptURL: () => address });
  return policy?.createScriptURL("") ?? address;
}

if (typeof document === "undefined") setInterval(() => postMessage(0), 1000);
else begin();
