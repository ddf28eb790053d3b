/**
 * Asking, and waiting for the answer; answering by a request's number (protocol/CONVENTIONS.md). Each that waits reads
 * from its own request on, so no answer can come before it is read, over any number of connections.
 */

import type { Channel } from "./channel.js";
import { NotAnswered, Resync } from "./errors.js";
import { parsePosition, positionText } from "./protocol/position.js";
import { type Message, partsOf } from "./message.js";
import type { Data } from "./records.js";
import { type Asked, Ledger, makeAcceptance, makeRefusal, type Outcome, readRequest } from "./requests.js";
import { within } from "./waiting.js";

export interface AnswerOptions {
  /** How long to wait for the answer; null: for ever. The request stays open after that. */
  timeoutMs?: number | null;
  signal?: AbortSignal;
}

/** Publishes a request and returns its outcome. Throws NotAnswered, and Resync when it cannot be known. */
export async function ask(channel: Channel, request: Message, { timeoutMs, signal }: AnswerOptions): Promise<Outcome> {
  let number = 0;
  const asking = async (patience: AbortSignal): Promise<Outcome> => {
    const ack = await channel.publish(request.data, { ...partsOf(request), signal: patience });
    number = ack.offset;
    return answerTo(channel, number, ack.epoch, patience);
  };
  return within(timeoutMs, signal, asking, () => {
    const which = number ? `request ${number}` : "the request, which is not acknowledged either";
    throw new NotAnswered(`nobody answered ${which} (${request.name}) within ${timeoutMs} ms`, { request: number });
  });
}

/** The answer that counts to a request of this life of the channel. */
async function answerTo(channel: Channel, request: number, epoch: string, signal: AbortSignal): Promise<Outcome> {
  const ledger = new Ledger(({ id }) => id === request);
  const onResync = (resync: Resync) => {
    const place = resync.position === null ? null : parsePosition(resync.position);
    if (place?.epoch !== epoch || place.offset >= request) throw resync;
  };
  for await (const record of channel.subscribe({ after: positionText(epoch, request - 1), onResync, signal })) {
    const { settled } = ledger.read(record);
    if (settled) return settled.outcome;
  }
  throw new NotAnswered(`request ${request} is not answered`, { request });
}

/** Of a request that somebody has made, at any time. */
export async function outcomeOf(
  channel: Channel,
  request: number,
  { timeoutMs, signal }: AnswerOptions,
): Promise<Outcome> {
  const reading = async (patience: AbortSignal) =>
    answerTo(channel, request, (await askedAt(channel, request)).epoch, patience);
  return within(timeoutMs, signal, reading, () => {
    throw new NotAnswered(`nobody has answered request ${request} in time`, { request });
  });
}

export async function accept(channel: Channel, request: number, data: Data, clientId: string): Promise<Outcome> {
  const asked = await askedAt(channel, request);
  if (asked.kind === "approval" && asked.clientId === clientId)
    throw new TypeError(`request ${request} was asked by this client itself: somebody else has to approve it`);
  return answer(channel, asked, makeAcceptance(request, data));
}

export async function refuse(channel: Channel, request: number, reason: string): Promise<Outcome> {
  return answer(channel, await askedAt(channel, request), makeRefusal(request, reason));
}

async function askedAt(channel: Channel, request: number): Promise<Asked> {
  for await (const record of channel.history({ after: request - 1, limit: 1, raw: true })) {
    const asked = readRequest(record);
    if (asked?.id === request) return asked;
  }
  throw new TypeError(`record ${request} of "${channel.name}" is no request that can be answered`);
}

/** The answer that counts, which may have been there before this one. */
async function answer(channel: Channel, { id, epoch }: Asked, message: Message): Promise<Outcome> {
  const ack = await channel.publish(message.data, partsOf(message));
  const ledger = new Ledger((other) => other.id === id);
  const before = ack.offset ? { before: ack.offset + 1 } : {};
  for await (const record of channel.history({ after: positionText(epoch, id - 1), ...before, raw: true })) {
    const { settled } = ledger.read(record);
    if (settled) return settled.outcome;
  }
  throw new NotAnswered(`no answer to request ${id} is to be found`, { request: id });
}
