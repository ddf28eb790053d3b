/** Beside the chat: what this tab received and resumed, what can be broken, and how everybody fares. */

import type { ComponentChildren } from "preact";
import type { Reader } from "./reader.ts";
import { type Button, press, type Said, said, type Scene, scene, verdict } from "./stage.ts";

const LINES = 60;
const DIGEST_SHOWN = 16;
const count = new Intl.NumberFormat("en-US");

export function Panel({ reader }: { reader: Reader }) {
  return (
    <>
      <Received reader={reader} />
      <Buttons reader={reader} />
      {scene.value && <Everybody scene={scene.value} />}
      <Log lines={said.value} />
    </>
  );
}

function Received({ reader }: { reader: Reader }) {
  const { tally, account, resumes, resyncs } = reader;
  void reader.frame.value;
  return (
    <section class="card received" aria-label="This tab">
      <h2>
        This tab <Connection reader={reader} />
      </h2>
      <dl>
        <Figure name="records" value={tally.records} />
        <Figure name="gaps" value={tally.gaps} isBad={tally.gaps > 0} />
        <Figure name="repeats" value={tally.repeats} isBad={tally.repeats > 0} />
        <Figure name="resumes" value={resumes.value} />
      </dl>
      <p class="resumed">{resyncs.value ? "It could not be resumed: told to begin anew." : resumed(reader)}</p>
      <p class="digest" title="SHA-256 of all data in order">
        sha256 <code>{account.value ? `${account.value.sha256.slice(0, DIGEST_SHOWN)}...` : "..."}</code>
        {account.value && ` of ${count.format(account.value.records)}`}
      </p>
    </section>
  );
}

function Connection({ reader }: { reader: Reader }) {
  if (reader.chat.hasEnded) return <Badge tone="good">has it all</Badge>;
  if (reader.link.value === "open") return <Badge tone="good">live</Badge>;
  return <Badge tone="bad">{reader.resumes.value || reader.tally.records ? "cut off" : "connecting"}</Badge>;
}

function resumed({ lastReturn, link, tally, chat }: Reader): string {
  if (chat.hasEnded) return "It has every record, each once.";
  if (link.value !== "open" && tally.last) return `Away: it will ask for what follows ${count.format(tally.last)}.`;
  if (!lastReturn.value) return "Cut its connection: it comes back, and asks for the rest.";
  const { first, replayed } = lastReturn.value;
  if (!replayed) return `Back at ${count.format(first)}: it had missed nothing.`;
  return `Back: ${count.format(replayed)} ${replayed === 1 ? "record" : "records"} replayed from ${count.format(first)}.`;
}

function Figure({ name, value, isBad = false }: { name: string; value: number; isBad?: boolean }) {
  return (
    <div data-figure={name} class={isBad ? "bad" : ""}>
      <dd>{count.format(value)}</dd>
      <dt>{name}</dt>
    </div>
  );
}

function Badge({ tone, children }: { tone: string; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

// --- buttons ---------------------------------------------------------------------------------------------------

function Buttons({ reader }: { reader: Reader }) {
  const { broker, agent, page } = scene.value ?? {};
  const isOver = verdict.value !== null || agent?.state === "done";
  const run = reader.run.value;
  return (
    <section class="card buttons" aria-label="Break something">
      <Break what="page" can={!isOver && page?.state === "up"}>
        Cut the connection
      </Break>
      <Break what="broker" can={!isOver && broker?.state === "up"}>
        Kill the broker
      </Break>
      <Break what="agent" can={!isOver && (agent?.state === "writing" || agent?.state === "alone")}>
        Kill the agent
      </Break>
      <button
        id="cancel"
        disabled={isOver || run?.state !== "open" || reader.isCancelling.value || reader.link.value !== "open"}
        onClick={() => void reader.cancel()}
      >
        Cancel the run
      </button>
    </section>
  );
}

function Break({ what, can, children }: { what: Button; can: boolean; children: ComponentChildren }) {
  return (
    <button id={what} disabled={!can} onClick={() => void press(what)}>
      {children}
    </button>
  );
}

// --- everybody -------------------------------------------------------------------------------------------------

function Everybody({ scene: { broker, agent, viewers } }: { scene: Scene }) {
  const waiting = agent.written - agent.acknowledged;
  return (
    <section class="card everybody" aria-label="On the stage">
      <h2>On the stage</h2>
      <table>
        <tbody>
          <Party name="broker" state={broker.state} text={times(broker.kills)} />
          <Party
            name="agent"
            state={agent.state}
            text={`${count.format(agent.acknowledged)} on disk${waiting > 0 ? `, ${count.format(waiting)} waiting` : ""}`}
          />
          {Object.entries(viewers).map(([name, { state, offset, gaps, repeats }]) => (
            <Party
              key={name}
              name={name}
              state={state}
              text={`${count.format(offset)} seen${gaps || repeats ? `, ${gaps} gaps, ${repeats} repeats` : ""}`}
            />
          ))}
        </tbody>
      </table>
    </section>
  );
}

const GOOD = new Set(["up", "live", "writing", "done"]);

function Party({ name, state, text }: { name: string; state: string; text: string }) {
  return (
    <tr>
      <th>{name}</th>
      <td>
        <Badge tone={GOOD.has(state) ? "good" : "bad"}>{state}</Badge>
      </td>
      <td>{text}</td>
    </tr>
  );
}

function times(kills: number): string {
  return kills === 1 ? "killed once" : `killed ${count.format(kills)} times`;
}

function Log({ lines }: { lines: readonly Said[] }) {
  return (
    <section class="card log" aria-label="What happened">
      <h2>What happened</h2>
      <ol>
        {lines
          .slice(-LINES)
          .reverse()
          .map(({ at_s, text, colour }, index) => (
            <li key={lines.length - index} data-colour={colour}>
              <time>{at_s.toFixed(1)}</time> {text}
            </li>
          ))}
      </ol>
    </section>
  );
}
