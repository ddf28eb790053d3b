/** Publishing by hand. */

import { useSignal } from "@preact/signals";
import type { Channel } from "outlast";
import { useRef } from "preact/hooks";
import { showCount } from "./format.js";
import { readData } from "./json.js";
import { useKeys } from "./keyboard.js";
import { isOpen, messageOf } from "./session.js";

export function Composer({ channel }: { channel: Channel }) {
  const kind = useSignal<"text" | "json">("text");
  const text = useSignal("");
  const name = useSignal("");
  const said = useSignal<{ ok: boolean; text: string } | null>(null);
  const input = useRef<HTMLTextAreaElement>(null);
  useKeys((key) => key === "p" && (input.current!.focus(), true));

  const publish = async () => {
    try {
      const data = readData(text.value, kind.value);
      said.value = { ok: true, text: "publishing …" };
      const ack = await channel.publish(data, { name: name.value || null });
      said.value = { ok: true, text: `on disk at ${showCount(ack.offset)}` };
      text.value = "";
    } catch (error) {
      said.value = {
        ok: false,
        text: error instanceof SyntaxError ? `This is no JSON: ${error.message}` : messageOf(error),
      };
    }
  };
  return (
    <form
      class="composer"
      aria-label="Publish by hand"
      onSubmit={(event) => {
        event.preventDefault();
        void publish();
      }}
    >
      <textarea
        ref={input}
        rows={2}
        aria-label="What to publish"
        placeholder={kind.value === "json" ? '{"tool": "search"}' : "Publish to this channel …"}
        spellcheck={kind.value === "text"}
        value={text.value}
        onInput={({ currentTarget }) => (text.value = currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.form!.requestSubmit();
        }}
      />
      <div class="strip">
        <div class="switch" role="group" aria-label="Sent as">
          <button type="button" aria-pressed={kind.value === "text"} onClick={() => (kind.value = "text")}>
            Text
          </button>
          <button type="button" aria-pressed={kind.value === "json"} onClick={() => (kind.value = "json")}>
            JSON
          </button>
        </div>
        <input
          class="record-name"
          aria-label="Name of the record"
          placeholder="name"
          maxLength={255}
          value={name.value}
          onInput={({ currentTarget }) => (name.value = currentTarget.value)}
        />
        {said.value && (
          <span class={said.value.ok ? "muted" : "warned"} role="status">
            {said.value.text}
          </span>
        )}
        <button
          type="submit"
          class="main"
          disabled={!isOpen.value || (!text.value && kind.value === "json")}
          title="Ctrl+Enter"
        >
          Publish
        </button>
      </div>
    </form>
  );
}
