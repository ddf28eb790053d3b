/** One thing that happened in a channel. */

import { useSignal } from "@preact/signals";
import { type Channel, NotAnswered, type Outcome } from "outlast";
import { showClock, showCount } from "./format.js";
import type { Item, MessageItem, PresenceItem, RecordItem, StateItem } from "./log.js";
import { messageOf } from "./session.js";
import { Value } from "./value.js";

const WHY = "cancelled from the console";
const ANSWER_TIMEOUT_MS = 10_000;

export function Entry({ item, channel }: { item: Item; channel: Channel }) {
  const { kind, offset, timeMs, clientId } = item;
  return (
    <li
      class={`item ${kind}${kind === "message" ? ` ${item.message.state}` : ""}`}
      tabIndex={-1}
      data-offset={offset || undefined}
    >
      <span class="offset">{offset ? showCount(offset) : ""}</span>
      <div class="said">
        <div class="top">
          <b class="who">{clientId || "broker"}</b>
          {kind === "message" && <MessageTop item={item} channel={channel} />}
          {kind === "record" && <RecordTop item={item} channel={channel} />}
          {kind === "state" && <StateTop item={item} />}
          {kind === "presence" && <PresenceTop item={item} />}
          <time dateTime={new Date(timeMs).toISOString()} title={new Date(timeMs).toLocaleString()}>
            {showClock(timeMs)}
          </time>
        </div>
        {kind === "message" && <Value data={item.message.content} grows={item.message.state === "open"} />}
        {kind === "record" && <RecordBody item={item} />}
      </div>
    </li>
  );
}

function MessageTop({ item: { message }, channel }: { item: MessageItem; channel: Channel }) {
  return (
    <>
      {message.name && <span class="tag">{message.name}</span>}
      <span class={`state ${message.state}`}>{message.state === "open" ? "growing" : message.state}</span>
      {message.reason && <span class="muted">{message.reason}</span>}
      {!message.whole && <span class="muted">its beginning is gone</span>}
      <Headers headers={message.headers} />
      {message.state === "open" && (
        <Ask label="Cancel" ask={() => channel.cancel(message, WHY, { timeoutMs: ANSWER_TIMEOUT_MS })} />
      )}
    </>
  );
}

function RecordTop({ item, channel }: { item: RecordItem; channel: Channel }) {
  const { name, note, answer, offset } = item;
  const isOpenApproval = name === "outlast.approval" && !answer;
  return (
    <>
      {name && <span class={name.startsWith("outlast.") ? "tag known" : "tag"}>{name.replace(/^outlast\./, "")}</span>}
      {note && <span class="tag">{note}</span>}
      {answer && (
        <span class={`state ${answer.accepted ? "complete" : "error"}`}>
          {answer.accepted ? "accepted" : "refused"} by {answer.by}
        </span>
      )}
      {isOpenApproval && <Ask label="Approve" ask={() => channel.approve(offset)} />}
      {isOpenApproval && <Ask label="Refuse" ask={() => channel.reject(offset, "refused in the console")} />}
      <Headers headers={item.headers} />
    </>
  );
}

function RecordBody({ item: { name, data } }: { item: RecordItem }) {
  const isOpen = useSignal(false);
  const said = saidIn(name, data);
  if (said !== null) return <p class="words">{said}</p>;
  if (data === null || typeof data !== "object") return <Value data={data} />;
  return (
    <button type="button" class="fold" aria-expanded={isOpen.value} onClick={() => (isOpen.value = !isOpen.value)}>
      {isOpen.value ? <Value data={data} /> : <Value data={data} brief />}
    </button>
  );
}

/** What a request or an answer says in words, if it says nothing else (protocol/CONVENTIONS.md). */
function saidIn(name: string | null, data: RecordItem["data"]): string | null {
  if (!name?.startsWith("outlast.") || data === null || typeof data !== "object") return null;
  const [[key, value] = [], ...more] = Object.entries(data);
  return !more.length && (key === "text" || key === "reason") && typeof value === "string"
    ? value
    : more.length || key
      ? null
      : "";
}

function StateTop({ item: { stateKey, value, deleted } }: { item: StateItem }) {
  return (
    <>
      <span class="tag known">state</span>
      <code>{stateKey}</code>
      {deleted ? (
        <span class="muted">deleted</span>
      ) : (
        <>
          = <Value data={value} brief />
        </>
      )}
    </>
  );
}

function PresenceTop({ item: { said } }: { item: PresenceItem }) {
  return <span class="muted">{said}</span>;
}

function Headers({ headers }: { headers: RecordItem["headers"] }) {
  return (
    <>
      {Object.entries(headers).map(([key, value]) => (
        <span key={key} class="header">
          <span class="faint">{key}</span> {value}
        </span>
      ))}
    </>
  );
}

/** A button that asks somebody for something, and says what came of it. */
function Ask({ label, ask }: { label: string; ask: () => Promise<Outcome> }) {
  const said = useSignal("");
  const press = async () => {
    said.value = "asked …";
    try {
      const outcome = await ask();
      said.value = outcome.accepted ? "accepted" : `refused: ${outcome.reason}`;
    } catch (error) {
      said.value = error instanceof NotAnswered ? "nobody has answered yet" : messageOf(error);
    }
  };
  return said.value ? (
    <span class="muted" role="status">
      {said.value}
    </span>
  ) : (
    <button type="button" class="small" onClick={press}>
      {label}
    </button>
  );
}
