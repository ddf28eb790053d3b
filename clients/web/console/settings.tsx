/** What a channel keeps, and its end: both behind a question. */

import { useSignal } from "@preact/signals";
import type { Channel, ChannelInfo, Retention } from "outlast";
import { Dialog } from "./dialog.js";
import { showBytes, showCount, showDuration } from "./format.js";
import { BOUNDS, readBound } from "./retention.js";
import { goBack } from "./route.js";
import { messageOf } from "./session.js";

export function Settings({ channel, info }: { channel: Channel; info: ChannelInfo }) {
  const asking = useSignal<"retention" | "delete" | null>(null);
  const close = () => (asking.value = null);
  return (
    <details open class="part">
      <summary>Retention</summary>
      <p class="keeps">{kept(info.retention)}</p>
      <p class="acts">
        <button type="button" class="small" onClick={() => (asking.value = "retention")}>
          Change …
        </button>
        <button type="button" class="small bad" onClick={() => (asking.value = "delete")}>
          Delete channel …
        </button>
      </p>
      {asking.value === "retention" && <Keep channel={channel} retention={info.retention} onClose={close} />}
      {asking.value === "delete" && <Delete channel={channel} info={info} onClose={close} />}
    </details>
  );
}

function kept({ ageMs, records, bytes, idleTtlMs }: Retention): string {
  const bounds = [
    ageMs && `records of the last ${showDuration(ageMs)}`,
    records && `the last ${showCount(records)} records`,
    bytes && `about ${showBytes(bytes)}`,
  ].filter(Boolean);
  const end = idleTtlMs ? ` Deleted when nobody used it for ${showDuration(idleTtlMs)}.` : "";
  return `Keeps ${bounds.join(", at most ") || "everything"}.${end}`;
}

function Keep({ channel, retention, onClose }: { channel: Channel; retention: Retention; onClose: () => void }) {
  const wrong = useSignal("");
  const save = async (form: HTMLFormElement) => {
    try {
      const given = new FormData(form);
      const entries = BOUNDS.map(({ key, unit }) => [key, readBound(String(given.get(key)), unit)]);
      await channel.configure({ retention: Object.fromEntries(entries) });
      form.closest("dialog")!.close();
    } catch (error) {
      wrong.value = messageOf(error);
    }
  };
  return (
    <Dialog title="What this channel keeps" onClose={onClose}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          void save(event.currentTarget);
        }}
      >
        <p class="muted">Empty: the broker's rule. 0: no bound. What lies beyond the bounds is deleted for good.</p>
        {BOUNDS.map(({ key, label, unit, hint }) => (
          <label key={key} class="field">
            <span>{label}</span>
            <input
              name={key}
              inputMode="decimal"
              autocomplete="off"
              placeholder={hint}
              defaultValue={retention[key] == null ? "" : String(retention[key]! / unit)}
            />
          </label>
        ))}
        {wrong.value && (
          <p class="failure" role="alert">
            {wrong.value}
          </p>
        )}
        <Buttons does="Save" onClose={onClose} />
      </form>
    </Dialog>
  );
}

function Delete({ channel, info, onClose }: { channel: Channel; info: ChannelInfo; onClose: () => void }) {
  const typed = useSignal("");
  const wrong = useSignal("");
  const remove = async () => {
    try {
      await channel.delete();
      goBack();
    } catch (error) {
      wrong.value = messageOf(error);
    }
  };
  return (
    <Dialog title="Delete this channel?" onClose={onClose}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          if (typed.value === channel.name) void remove();
        }}
      >
        <p>
          All {showCount(info.last - info.first + 1)} records of <b class="name">{channel.name}</b>, its state and its
          cursors go, and do not come back. Whoever reads it is told.
        </p>
        <label class="field">
          <span>Type its name</span>
          <input
            autocomplete="off"
            spellcheck={false}
            value={typed.value}
            onInput={({ currentTarget }) => (typed.value = currentTarget.value)}
          />
        </label>
        {wrong.value && (
          <p class="failure" role="alert">
            {wrong.value}
          </p>
        )}
        <Buttons does="Delete" isBad disabled={typed.value !== channel.name} onClose={onClose} />
      </form>
    </Dialog>
  );
}

function Buttons({
  does,
  isBad,
  disabled,
  onClose,
}: {
  does: string;
  isBad?: boolean;
  disabled?: boolean;
  onClose: () => void;
}) {
  return (
    <p class="buttons">
      <button type="button" class="quiet" onClick={onClose}>
        Leave it
      </button>
      <button type="submit" class={isBad ? "main bad" : "main"} disabled={disabled}>
        {does}
      </button>
    </p>
  );
}
