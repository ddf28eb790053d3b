/** The module of everything that is late: each client has one Rest of it (see `late`). */

import type { Channel } from "./channel.js";
import { Hearing, type Places } from "./ephemeral.js";
import type { Link } from "./link.js";
import { Outbox } from "./outbox.js";
import { type ChannelSummary, type ConnectionInfo, named, type Status, summaryFrom } from "./summaries.js";
import { ChannelVerbs } from "./verbs.js";

const LIST_PAGE = 500;
const CONNECTIONS_PAGE = 500;

export class Rest {
  readonly link: Link;
  readonly outbox: Outbox;
  readonly hearing: Hearing;

  constructor(link: Link, places: Places) {
    this.link = link;
    this.outbox = new Outbox(link);
    this.hearing = new Hearing(places);
  }

  verbs(channel: Channel): ChannelVerbs {
    return new ChannelVerbs(channel, this);
  }

  /** The channels whose names begin with `prefix`, in the byte order of their names. */
  async *channels({ prefix = "", signal }: { prefix?: string; signal?: AbortSignal } = {}): AsyncGenerator<
    ChannelSummary,
    void,
    undefined
  > {
    for (let after: string | null = null, more = true; more;) {
      const result: { channels: any[]; more: boolean } = await this.link.callAgain(
        "LIST",
        { prefix, after, limit: LIST_PAGE },
        signal,
      );
      yield* result.channels.map(summaryFrom);
      after = result.channels.at(-1)?.channel ?? null;
      more = after !== null && result.more;
    }
  }

  /** What the broker is and does now. */
  async status({ signal }: { signal?: AbortSignal } = {}): Promise<Status> {
    return named(await this.link.callAgain("STATUS", {}, signal));
  }

  /** Who is connected to the broker, in the order in which they came; this client, too. */
  async *connections({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<ConnectionInfo, void, undefined> {
    for (let after = 0, more = true; more;) {
      const result: { connections: any[]; more: boolean } = await this.link.callAgain(
        "CONNECTIONS",
        { after, limit: CONNECTIONS_PAGE },
        signal,
      );
      yield* result.connections.map(named);
      after = result.connections.at(-1)?.id;
      more = result.more;
    }
  }

  /** Waits so long for acknowledgements, then fails what is left. */
  async close(timeoutMs: number): Promise<void> {
    await this.outbox.close(timeoutMs);
    this.hearing.close();
  }
}
