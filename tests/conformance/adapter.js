/** The JavaScript client behind the conformance cases: a request a line on stdin, its answer a line on stdout (README.md). */

import { createInterface } from "node:readline";

const outlast = await import(process.argv[2]);

const plain = (value) =>
  value instanceof Uint8Array ? { bytes: Buffer.from(value).toString("hex") } : typeof value === "bigint" ? `${value}` : value;
const data = (value) => (typeof value?.bytes === "string" ? new Uint8Array(Buffer.from(value.bytes, "hex")) : value);

const recordOf = ({ offset, data, name, headers, clientId, position, operation }) => ({
  offset, data: plain(data), name, headers, client_id: clientId, position, operation: operation && operation.op,
});
const ackOf = ({ offset, last, offsets, duplicate, position, epoch }) => ({ offset, last, offsets, duplicate, position, epoch });
const messageOf = ({ id, content, state, reason, name, headers, clientId, whole }) => ({
  id, content: plain(content), state, reason, name, headers, client_id: clientId, whole,
});
const memberOf = ({ clientId, status, data, reason }) => ({ client_id: clientId, status, data, reason });
const outcomeOf = ({ id, accepted, reason, data, clientId }) => ({ id, accepted, reason, data, client_id: clientId });
const requestOf = ({ id, kind, text, message, clientId }) => ({ id, kind, text, message, client_id: clientId });
const changeOf = ({ key, value, version, deleted }) => ({ key, value, version, deleted });
const eventOf = (event) => {
  if (event.type === "record") return { type: "record", ...recordOf(event.record) };
  if (event.type === "message") return { type: "message", delta: plain(event.delta), ...messageOf(event.message) };
  if (event.type === "state") return { type: "state", ...changeOf(event) };
  return { type: "presence", ...presenceOf(event.event) };
};
const presenceOf = ({ type, members, member, present, away }) => ({
  event: type, present, away, ...(members && { members: members.map(memberOf) }), ...(member && { member: memberOf(member) }),
});

async function listOf(list, form) {
  const all = [];
  for await (const item of list) all.push(form(item));
  return all;
}

const things = new Map();
/** Keeps what a step makes under the name that it is given. */
const keep = (name, thing, said = {}) => (things.set(name, thing), said);
const thing = (name) => things.get(name) ?? raise(`there is no ${name}`);
const raise = (text) => {
  throw new TypeError(text);
};
const given = ({ if_offset, ttl_ms, under, name, headers }) => ({
  name, headers, ifOffset: if_offset, ttlMs: ttl_ms, lease: under && thing(under),
});
const start = ({ after, start, last, since }) => ({ after, start, last, since });
const streams = {
  subscription: (record) => ({ type: "record", ...recordOf(record) }), attachment: eventOf, ephemerals: recordOf, inbox: requestOf, watch: (change) => ({ type: "state", ...changeOf(change) }), presence: (event) => ({ type: "presence", ...presenceOf(event) }),
};

const VERBS = {
  connect: async (_, { client, client_id, producer, url }) =>
    keep(client, await outlast.connect(url, { clientId: client_id ?? client, producer, backoffBaseMs: 5, backoffCapMs: 20 })),
  revoke: async (_, { client, subject, token_id }) => ({ cut: await thing(client).revoke({ subject, tokenId: token_id }) }),
  revocations: (_, { client }) =>
    listOf(thing(client).revocations(), ({ subject, tokenId, issuedBeforeMs, untilMs }) => ({
      subject, token_id: tokenId, issued_before_ms: issuedBeforeMs, until_ms: untilMs,
    })),
  close: (_, { client }) => thing(client).close(),
  publish: async (channel, { data: value, ...options }) => ackOf(await channel.publish(data(value), given(options))),
  publish_many: async (channel, { datas, ...options }) => ackOf(await channel.publishMany(datas.map(data), given(options))),
  history: (channel, { before, backwards, limit, raw, ...where }) =>
    listOf(channel.history({ ...start(where), before, backwards, limit, raw }), recordOf),
  subscribe: async (channel, { as, cursor, ack, ...where }) => {
    const records = await channel.subscribe({ ...start(where), cursor, ack }).open();
    return keep(as, [records, "subscription"]);
  },
  attach: async (channel, { as, raw, presence = false, ...where }) => {
    const session = await channel.attach({ ...start(where), raw, presence });
    return keep(as, [session, "attachment"], {
      through: session.through, state: session.state.toObject(),
      messages: [...session.messages.values()].map(messageOf), members: session.members.map(memberOf),
    });
  },
  next: async (_, { of }) => {
    const [stream, kind] = thing(of);
    const { value } = await stream.next();
    things.set(`${of}.item`, value);
    return value ? streams[kind](value) : raise("it has ended");
  },
  position: async (_, { of }) => ({ position: thing(of)[0].position }),
  leave: (_, { of }) => thing(of)[0].close(),
  ack: async (_, { of }) => (thing(`${of}.item`).ack(), await thing(of)[0].acked()),
  open: async (channel, { as, data: value, under, name, headers }) => {
    const message = channel.message({ data: data(value), name, headers, lease: under && thing(under) });
    await message.flush();
    return keep(as, message, { id: message.id });
  },
  append: async (_, { to, data: value }) => ackOf(await thing(to).append(data(value))),
  complete: async (_, { of }) => ackOf(await thing(of).complete()),
  stop: async (_, { of, reason }) => ackOf(await thing(of).cancel(reason)),
  fail: async (_, { of, reason }) => ackOf(await thing(of).fail(reason)),
  adopt: async (channel, { as, message, under }) => {
    const writer = await channel.adopt(message, { lease: under && thing(under) });
    return keep(as, writer, { id: writer.id, content: plain(writer.content) });
  },
  message: async (channel, { message }) => messageOf(await channel.getMessage(message)),
  replace: async (channel, { message, data: value }) => ackOf(await channel.replace(message, data(value))),
  remove: async (channel, { message }) => ackOf(await channel.remove(message)),
  state: async (channel) =>
    Object.entries((await channel.state.get()).toObject()).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => ({ key, value })),
  set: async (channel, { key, value, version }) => ackOf(await channel.state.set(key, value, { version })),
  unset: async (channel, { key, version }) => ackOf(await channel.state.delete(key, { version })),
  increment: async (channel, { key, by }) => ackOf(await channel.state.increment(key, by)),
  update: async (channel, { changes }) => ackOf(await channel.state.update(changes)),
  watch: async (channel, { as }) => {
    const watch = await channel.state.watch();
    return keep(as, [watch, "watch"], watch.toObject());
  },
  reached: async (_, { of, position }) => (await thing(of)[0].reached(position), thing(of)[0].toObject()),
  enter: async (channel, { as, data: value, grace_ms }) => keep(as, await channel.presence.enter(value, { graceMs: grace_ms })),
  update_member: (_, { of, data: value }) => thing(of).update(value),
  leave_presence: (_, { of }) => thing(of).leave(),
  members: async (channel) => (await channel.presence.members()).map(memberOf),
  occupied: async (channel) => ({ occupied: await channel.presence.occupied() }),
  watch_presence: async (channel, { as, members }) => keep(as, [channel.presence.watch({ members }), "presence"]),
  cursors: (channel) => listOf(channel.cursors(), ({ name, offset, lag }) => ({ name, offset, lag })),
  forget_cursor: async (channel, { cursor }) => ({ offset: await channel.forgetCursor(cursor) }),
  delivered: (channel, { offset, cursor, timeout_ms }) => channel.delivered(offset, { cursor, timeoutMs: timeout_ms }),
  lease: async (channel, { as, lease, ttl_ms, take_over, wait }) => {
    const made = await channel.lease(lease, { ttlMs: ttl_ms, takeOver: take_over, wait });
    return keep(as, made, { token: plain(made.token) });
  },
  holds: async (_, { of }) => ({ held: thing(of).isHeld }),
  release: (_, { of }) => thing(of).release(),
  leases: async (channel) => (await channel.leases()).map(({ name, holder }) => ({ name, holder })),
  claim: async (channel, { as, key, ttl_ms }) => {
    const claim = await channel.claim(key, { ttlMs: ttl_ms });
    return keep(as, claim, { granted: claim.granted, done: claim.done, result: plain(claim.result), attempt: claim.attempt });
  },
  settle: (_, { of, result }) => thing(of).settle(result),
  abandon: (_, { of }) => thing(of).abandon(),
  claims: (channel) => listOf(channel.claims(), ({ key, status, attempt }) => ({ key, status, attempt })),
  inbox: async (channel, { as, cursor, kinds }) => keep(as, [await channel.inbox({ cursor, kinds }), "inbox"]),
  accept: async (_, { of, data: value }) => ({ counts: await thing(`${of}.item`).accept(value) }),
  refuse: async (_, { of, reason }) => ({ counts: await thing(`${of}.item`).refuse(reason) }),
  cancelled: async (_, { as, inbox, message }) => keep(as, thing(inbox)[0].cancelled(message)),
  is_cancelled: async (_, { of }) => ({ cancelled: thing(of).signal.aborted, text: thing(of).text }),
  prompt: async (channel, { text, timeout_ms }) => outcomeOf(await channel.prompt(text, { timeoutMs: timeout_ms })),
  cancel: async (channel, { message, text }) => outcomeOf(await channel.cancel(message, text)),
  ask_approval: async (channel, { text }) => outcomeOf(await channel.askApproval(text)),
  approve: async (channel, { request, data: value }) => outcomeOf(await channel.approve(request, value)),
  reject: async (channel, { request, reason }) => outcomeOf(await channel.reject(request, reason)),
  outcome: async (channel, { request }) => outcomeOf(await channel.outcome(request)),
  hear: async (channel, { as }) => keep(as, [await channel.ephemeral().open(), "ephemerals"]),
  tell: async (channel, { data: value, name }) => ({ sent: channel.sendEphemeral(value, { name }) }),
  info: async (channel) => {
    const { first, last, epoch, position } = await channel.info();
    return { first, last, epoch, position };
  },
  truncate: async (channel, { before }) => ({ first: await channel.truncate({ before }) }),
  delete: (channel) => channel.delete(),
};

/** What went wrong, as the cases say it: the code, and all that the broker said beside it. */
function errorOf(error) {
  if (!(error instanceof outlast.OutlastError)) return { error: "wrong_argument", message: String(error.message) };
  const { code, retryable, detail, reason, position } = error;
  return { ...detail, error: code, retryable, ...(code === "resync" && { reason, position }) };
}

async function answer({ verb, with: said }) {
  try {
    const channel = verb === "connect" ? null : said.channel && thing(said.client).channel(said.channel);
    return (await (VERBS[verb] ?? raise(`there is no verb ${verb}`))(channel, said)) ?? {};
  } catch (error) {
    return errorOf(error);
  }
}

for await (const line of createInterface(process.stdin)) {
  const asked = JSON.parse(line);
  answer(asked).then((gives) => process.stdout.write(`${JSON.stringify({ id: asked.id, gives }, (_, value) => (typeof value === "bigint" ? `${value}` : value))}\n`));
}
process.exit(0);
