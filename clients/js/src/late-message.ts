/** A growing message that may be written to before its writer is loaded. */

import type { Content } from "./growing.js";
import { lend, part, type Runner } from "./late.js";
import type { MessageOptions, MessageWriter, Writer } from "./message.js";
import type { Ack } from "./outbox.js";
import type { ChannelVerbs } from "./verbs.js";
import { ignore } from "./waiting.js";

export interface LateMessage extends MessageWriter {}

export class LateMessage {
  readonly content: Content;
  readonly late: Runner<Writer>;
  #writer: Writer | undefined;

  constructor(late: Runner<ChannelVerbs>, options: MessageOptions) {
    this.content = options.data ?? "";
    this.late = part(late, (verbs) => (this.#writer ??= verbs.message(options)));
    // What is wrong with the options is thrown at once, or else by its first use.
    Promise.resolve(this.late.run(ignore)).catch(ignore);
  }

  get id(): number {
    if (!this.#writer) throw new TypeError("the message is not on disk yet, and has no id: `await message.flush()` first");
    return this.#writer.id;
  }

  get epoch(): string | undefined {
    return this.#writer?.epoch;
  }

  get position(): string {
    return this.id ? this.#writer!.position : "";
  }

  append(data: Content): Promise<Ack> {
    const said = this.late.run((writer) => writer.append(data)) as Promise<Ack>;
    said.catch(ignore);
    return said;
  }
}

lend(LateMessage, ["flush", "complete", "cancel", "fail", "run", Symbol.asyncDispose]);
