/** What a channel is: its state, who is there, who has read how far, who may write, what it keeps. */

import type { ChannelInfo, ClaimSummary, Client, Cursor, Data, LeaseInfo } from "outlast";
import type { ComponentChildren } from "preact";
import type { Follower } from "./follow.js";
import { showBytes, showCount, showDuration } from "./format.js";
import { type Seen, usePolled } from "./polling.js";
import { Settings } from "./settings.js";
import { Ago, Failure } from "./stale.js";
import { Value } from "./value.js";

const EVERY_MS = 2_000;
const SHOWN = 200;
const BRIEF = 60;

interface Rights {
  readonly leases: readonly LeaseInfo[];
  readonly claims: readonly ClaimSummary[];
}

export function About({ follower, info }: { follower: Follower; info: Seen<ChannelInfo> }) {
  const { name } = follower.channel;
  const isLive = follower.phase.value === "live";
  const cursors = usePolled(
    EVERY_MS,
    (client, signal) => (isLive ? first(client.channel(name).cursors(signal)) : none()),
    [name, isLive],
  );
  const rights = usePolled(EVERY_MS, (client, signal) => (isLive ? rightsOf(client, name, signal) : noRights()), [
    name,
    isLive,
  ]);
  const { leases, claims } = rights.value.value ?? { leases: [], claims: [] };
  return (
    <>
      {follower.phase.value !== "absent" && <Facts info={info} />}
      <State follower={follower} />
      <Members follower={follower} />
      <Part title="Cursors" count={cursors.value.value?.length} error={cursors.value.error} empty="none">
        {(cursors.value.value ?? []).map((cursor) => (
          <CursorRow key={cursor.name} cursor={cursor} info={info.value} />
        ))}
      </Part>
      <Part title="Leases" count={leases.length} error={rights.value.error} empty="none">
        {leases.map((lease) => (
          <LeaseRow key={lease.name} lease={lease} />
        ))}
      </Part>
      <Part title="Claims" count={claims.length} error="" empty="none">
        {claims.map((claim) => (
          <ClaimRow key={claim.key} claim={claim} />
        ))}
      </Part>
      {info.value && <Settings channel={follower.channel} info={info.value} />}
    </>
  );
}

const none = async (): Promise<Cursor[]> => [];
const noRights = async (): Promise<Rights> => ({ leases: [], claims: [] });

async function rightsOf(client: Client, name: string, signal: AbortSignal): Promise<Rights> {
  const channel = client.channel(name);
  return { leases: await channel.leases(signal), claims: await first(channel.claims(signal)) };
}

/** As many as anybody reads. */
async function first<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const row of rows) if (found.push(row) === SHOWN) break;
  return found;
}

interface PartGiven {
  readonly title: string;
  readonly count: number | undefined;
  readonly error: string;
  readonly empty: string;
  readonly children: ComponentChildren;
}

function Part({ title, count, error, empty, children }: PartGiven) {
  return (
    <details open class={count ? "part" : "part bare"}>
      <summary>
        {title}{" "}
        {count ? (
          <span class="badge">{count === SHOWN ? `${SHOWN}+` : count}</span>
        ) : (
          <span class="faint">{count === undefined ? "" : empty}</span>
        )}
      </summary>
      <Failure error={error} />
      {count ? <ul>{children}</ul> : null}
    </details>
  );
}

function Facts({ info: { value, error } }: { info: Seen<ChannelInfo> }) {
  if (!value) return <Failure error={error} />;
  const { first, last, bytes, createdMs, lastMs, subscribers, epoch } = value;
  const facts: [string, ComponentChildren][] = [
    [
      "Records",
      <>
        {showCount(last - first + 1)}{" "}
        <span class="muted">{first <= last && `${showCount(first)} – ${showCount(last)}`}</span>
      </>,
    ],
    ["Size", showBytes(bytes)],
    ["Readers", showCount(subscribers)],
    ["Last record", lastMs ? <Ago atMs={lastMs} /> : "never"],
    [
      "Made",
      <span title={new Date(createdMs).toLocaleString()}>
        <Ago atMs={createdMs} />
      </span>,
    ],
    ["Epoch", <code>{epoch}</code>],
  ];
  return (
    <dl class="facts">
      {facts.map(([term, fact]) => (
        <div key={term}>
          <dt>{term}</dt>
          <dd>{fact}</dd>
        </div>
      ))}
    </dl>
  );
}

function State({ follower }: { follower: Follower }) {
  const entries = [...follower.state.value].sort(([a], [b]) => (a < b ? -1 : 1));
  return (
    <Part title="State" count={entries.length} error="" empty="empty">
      {entries.map(([key, { value, version, clientId, timeMs }]) => (
        <li key={key} title={`by ${clientId}, ${new Date(timeMs).toLocaleString()}`}>
          <div class="pair">
            <span>
              <code>{key}</code> {isBrief(value) && <Value data={value} brief />}
            </span>
            <span class="faint">v{showCount(version)}</span>
          </div>
          {!isBrief(value) && <Value data={value} />}
        </li>
      ))}
    </Part>
  );
}

/** It fits beside its key. */
function isBrief(value: Data): boolean {
  return (
    value === null ||
    (typeof value === "string" ? value.length <= BRIEF && !value.includes("\n") : typeof value !== "object")
  );
}

function Members({ follower }: { follower: Follower }) {
  const members = follower.members.value;
  return (
    <Part title="Present" count={members.length} error="" empty="nobody">
      {members.slice(0, SHOWN).map(({ clientId, memberId, status, data, sinceMs }) => (
        <li key={`${memberId}:${clientId}`}>
          <div class="pair">
            <span>
              <i class={`dot ${status}`} title={status} /> {clientId}
              {status === "away" && <span class="muted"> away</span>}
            </span>
            <span class="faint">
              <Ago atMs={sinceMs} />
            </span>
          </div>
          {data !== null && data !== "" && !(data instanceof Uint8Array && !data.length) && <Value data={data} brief />}
        </li>
      ))}
    </Part>
  );
}

function CursorRow({ cursor: { name, offset, lag, ackedMs }, info }: { cursor: Cursor; info: ChannelInfo | null }) {
  const all = info ? info.last - info.first + 1 : 0;
  return (
    <li>
      <div class="pair">
        <span>{name}</span>
        <span class={lag ? "late" : "faint"}>{lag ? `${showCount(lag)} behind` : "has all"}</span>
      </div>
      <div class="pair">
        <meter min={0} max={Math.max(all, 1)} value={Math.max(all - lag, 0)} aria-label={`What ${name} has read`} />
        <span class="faint">
          {showCount(offset)} · <Ago atMs={ackedMs} />
        </span>
      </div>
    </li>
  );
}

function LeaseRow({ lease: { name, holder, ttlMs, leftMs } }: { lease: LeaseInfo }) {
  return (
    <li class="pair">
      <span>
        {name} <span class="muted">held by</span> {holder}
      </span>
      <span class="faint" title={`renewed every so often, for ${showDuration(ttlMs)}`}>
        {showDuration(leftMs)} left
      </span>
    </li>
  );
}

function ClaimRow({ claim: { key, status, holder, attempt, timeMs } }: { claim: ClaimSummary }) {
  const word = { in_progress: "open", done: "complete", free: "interrupted" }[status];
  return (
    <li>
      <div class="pair">
        <code>{key}</code>
        <span class={`state ${word}`}>{status.replace("_", " ")}</span>
      </div>
      <div class="pair faint">
        <span>
          {holder}
          {attempt > 1 && `, attempt ${attempt}`}
        </span>
        <Ago atMs={timeMs} />
      </div>
    </li>
  );
}
