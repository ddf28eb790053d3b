/** Data as people read it: text as it is, JSON in colours, bytes in hexadecimal. Long ones in part, until asked for. */

import { useSignal } from "@preact/signals";
import type { Data } from "outlast";
import { showBytes, showCount } from "./format.js";
import { jsonParts, textOf } from "./json.js";

const SHOWN = 2_000;
const COLOURED = 20_000;

interface Given {
  readonly data: Data;
  /** It still grows: its end is what matters. */
  readonly grows?: boolean;
  /** On one line, as a list has it. */
  readonly brief?: boolean;
}

export function Value({ data, grows = false, brief = false }: Given) {
  const isWhole = useSignal(false);
  if (brief) return <span class="data brief">{coloured(textOf(data, 0).slice(0, SHOWN), data)}</span>;
  const text = textOf(data, 2);
  const isLong = text.length > 2 * SHOWN;
  const shown = !isLong || isWhole.value ? text : grows ? text.slice(-SHOWN) : text.slice(0, SHOWN);
  const more = (
    <button type="button" class="quiet" onClick={() => (isWhole.value = !isWhole.value)}>
      {isWhole.value ? "Show less" : `Show all ${showCount(text.length)} characters`}
    </button>
  );
  return (
    <div class="data">
      {isLong && grows && more}
      {data instanceof Uint8Array && <em class="faint">{showBytes(data.length)} of bytes</em>}
      <pre>
        {isLong && grows && !isWhole.value && "… "}
        {coloured(shown, data)}
        {isLong && !grows && !isWhole.value && " …"}
      </pre>
      {isLong && !grows && more}
    </div>
  );
}

function coloured(text: string, data: Data) {
  if (typeof data === "string" || data instanceof Uint8Array || text.length > COLOURED) return text;
  return jsonParts(text).map(([kind, part]) => (kind ? <span class={kind}>{part}</span> : part));
}
