/** The report as a chat: one section for each message of the agent's, with what its tools said. Pure. */

import type { ChannelRecord, GrowingMessage, MessageState, SessionEvent } from "outlast";

export interface Call {
  readonly tool: string;
  readonly result: string | null;
}

/** `revision` grows with every change. */
export interface Section {
  readonly id: number;
  readonly title: string;
  text: string;
  state: MessageState;
  calls: readonly Call[];
  revision: number;
}

export const END = "end";

export class Chat {
  readonly sections: Section[] = [];
  hasEnded = false;
  readonly #byId = new Map<number, Section>();

  see(event: SessionEvent): void {
    if (event.type === "message") this.#grow(event.message);
    else if (event.type === "record") this.#record(event.record);
  }

  #grow({ id, headers, content, state }: GrowingMessage): void {
    let section = this.#byId.get(id);
    if (!section) {
      section = { id, title: headers["file"] || "In short", text: "", state, calls: [], revision: 0 };
      this.sections.push(section);
      this.#byId.set(id, section);
    }
    section.text = bodyOf(String(content));
    section.state = state;
    section.revision++;
  }

  #record({ name, data }: ChannelRecord): void {
    const section = this.sections.at(-1);
    this.hasEnded ||= name === END;
    if (!section || typeof data !== "object" || data === null) return;
    const { tool, ...facts } = data as Record<string, unknown>;
    if (name === "tool_call") section.calls = [...section.calls, { tool: String(tool), result: null }];
    if (name === "tool_result") section.calls = [...section.calls.slice(0, -1), { tool: String(tool), result: shown(facts) }];
    section.revision++;
  }
}

/** Without its heading, which is the section's title. */
function bodyOf(text: string): string {
  return text.replace(/^#+ .*\n*/, "");
}

function shown(facts: Record<string, unknown>): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}
