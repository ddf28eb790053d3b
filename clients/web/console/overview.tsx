/** How the broker is: what it does, how long that takes, what it holds. */

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { directory, watchDirectory } from "./directory.js";
import { showBytes, showCount, showDuration, showRate } from "./format.js";
import { Plot } from "./plot.js";
import { EVERY_MS, figure, LOOKS, type Plotted, pulse } from "./pulse.js";
import { channelLink, routeText } from "./route.js";
import { Failure } from "./stale.js";

const BUSIEST = 8;
// All channels are looked at for it: too much to do often for those who only pass by.
const BUSIEST_EVERY_MS = 10_000;
// Publishing stops before the disk is full; an operator should hear of it before that.
const DISK_LOW_BYTES = 1 << 30;

const showMicros = (us: number): string => showDuration(us / 1_000);
const showBytesRate = (bytes: number): string => `${showBytes(bytes)}/s`;

export function Overview() {
  const { status, error } = pulse.value;
  if (!status && error)
    return (
      <main class="page">
        <h1>Overview</h1>
        <Failure error={error} />
      </main>
    );
  const of = (key: string) => figure(status, key);
  const refusing = String(status?.["refusing"] ?? "");
  return (
    <main class="page">
      <div class="tools">
        <h1>Overview</h1>
        {status && (
          <span class="muted count">
            {String(status["server"])} · up for {showDuration(of("timeMs") - of("startedMs"))}
          </span>
        )}
      </div>
      <Failure error={error} />
      {refusing && (
        <p class="failure" role="alert">
          <strong>The broker takes no changes:</strong> {refusing}
        </p>
      )}
      <div class="plots">
        <Measure title="Records in" of="records" show={(value) => `${showRate(value)}/s`}>
          {showCount(of("recordsIn"))} since the start
        </Measure>
        <Measure title="Deliveries" of="deliveries" show={(value) => `${showRate(value)}/s`}>
          {showCount(of("deliveries"))} since the start
        </Measure>
        <Measure
          title="Commit, p99"
          hint="From handing a group of publishes to the disk until it is there"
          of="commit"
          show={showMicros}
        >
          p50 {showMicros(of("commitP50Us"))}, {showRate(pulse.value.values.commits.at(-1) ?? 0)} commits/s
        </Measure>
        <Measure
          title="Publish, p99"
          hint="From reading a publish to its acknowledgement"
          of="publish"
          show={showMicros}
        >
          p50 {showMicros(of("publishP50Us"))}
        </Measure>
        <Measure
          title="Loop lag, p99"
          hint="How late the broker is for what it has set itself a time for"
          of="lag"
          show={showMicros}
        />
        <Measure title="Store" of="store" isBytes show={showBytes}>
          journal {showBytes(of("journalBytes"))}, address space {showBytes(of("storeMapBytes"))}
        </Measure>
        <Measure title="Bytes in" of="in" isBytes show={showBytesRate} />
        <Measure title="Bytes out" of="out" isBytes show={showBytesRate} />
      </div>
      <dl class="sums">
        <Sum term="Channels">{showCount(of("channels"))}</Sum>
        <Sum term="Connections" title="TCP, Unix socket, WebSocket, HTTP">
          {showCount(of("connectionsTcp") + of("connectionsUnix") + of("connectionsWebsocket") + of("connectionsHttp"))}
        </Sum>
        <Sum term="Subscriptions">{showCount(of("subscriptions"))}</Sum>
        <Sum
          term="Behind"
          title="Subscriptions that are not live: they are served from the log"
          isLate={of("subscriptionsBehind") > 0}
        >
          {showCount(of("subscriptionsBehind"))}
        </Sum>
        <Sum term="Waiting for the disk">{showBytes(of("backlogBytes"))}</Sum>
        <Sum term="Waiting for readers" title="Written to sockets, and not taken by them">
          {showBytes(of("waitingBytes"))}
        </Sum>
        <Sum term="Refused" isLate={of("damaged") > 0}>
          {showCount(of("refused"))}
        </Sum>
        <Sum term="Sent twice" title="Publishes that came again and were stored once">
          {showCount(of("duplicates"))}
        </Sum>
        <Sum term="Memory">{showBytes(of("memoryBytes"))}</Sum>
        <Sum term="Free disk" isLate={of("diskFreeBytes") > 0 && of("diskFreeBytes") < DISK_LOW_BYTES}>
          {of("diskFreeBytes") ? showBytes(of("diskFreeBytes")) : "in memory"}
        </Sum>
      </dl>
      <Busiest />
    </main>
  );
}

function Measure({
  of,
  ...given
}: {
  title: string;
  hint?: string;
  of: Plotted;
  isBytes?: boolean;
  show: (value: number) => string;
  children?: ComponentChildren;
}) {
  return <Plot {...given} values={pulse.value.values[of]} size={LOOKS} everyMs={EVERY_MS} />;
}

function Sum({
  term,
  title,
  isLate,
  children,
}: {
  term: string;
  title?: string;
  isLate?: boolean;
  children: ComponentChildren;
}) {
  return (
    <div title={title}>
      <dt>{term}</dt>
      <dd class={isLate ? "late" : ""}>{children}</dd>
    </div>
  );
}

/** Where most is published now. */
function Busiest() {
  useEffect(() => watchDirectory("", BUSIEST_EVERY_MS), []);
  const busy = directory.value.rows
    .filter(({ rate }) => rate)
    .sort((a, b) => b.rate! - a.rate!)
    .slice(0, BUSIEST);
  const most = busy[0]?.rate ?? 1;
  return (
    <section class="busiest" aria-label="Busiest channels">
      <h2>
        Busiest channels{" "}
        <a class="muted" href={routeText({ view: "channels", sort: "-rate" })}>
          all
        </a>
      </h2>
      {busy.length ? (
        <ol>
          {busy.map(({ name, rate }) => (
            <li key={name}>
              <a href={channelLink(name)}>
                <span class="name">{name}</span>
                <meter min={0} max={most} value={rate!} aria-label="Beside the busiest" />
                <span class="busy">{showRate(rate!)}/s</span>
              </a>
            </li>
          ))}
        </ol>
      ) : (
        <p class="faint">{directory.value.atMs ? "Nothing is published just now." : "Looking …"}</p>
      )}
    </section>
  );
}
