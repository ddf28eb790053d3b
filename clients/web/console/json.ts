/** JSON, and what else is in records, as text to be looked at. Pure. */

import type { Data } from "outlast";

const BYTES_SHOWN = 256;
const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;

export type PartKind = "" | "key" | "text" | "number" | "word";

/** Text that is JSON, cut where its colour changes; together the parts are the text. */
export function jsonParts(text: string): [kind: PartKind, part: string][] {
  const parts: [PartKind, string][] = [];
  let end = 0;
  for (const found of text.matchAll(TOKENS)) {
    const [whole, quoted, colon, number] = found;
    if (found.index > end) parts.push(["", text.slice(end, found.index)]);
    if (quoted !== undefined) parts.push([colon ? "key" : "text", quoted]);
    else parts.push([number !== undefined ? "number" : "word", whole]);
    if (colon) parts.push(["", colon]);
    end = found.index + whole.length;
  }
  if (end < text.length) parts.push(["", text.slice(end)]);
  return parts;
}

/** `indent` 0: on one line. */
export function textOf(data: Data, indent: number): string {
  if (typeof data === "string") return data;
  if (data instanceof Uint8Array) return hexOf(data);
  return JSON.stringify(data, null, indent);
}

function hexOf(bytes: Uint8Array): string {
  const shown = Array.from(bytes.subarray(0, BYTES_SHOWN), (byte) => byte.toString(16).padStart(2, "0"));
  return shown.join(" ") + (bytes.length > BYTES_SHOWN ? " …" : "");
}

/** What somebody wrote into a form, as what it is to be published as. Throws SyntaxError. */
export function readData(text: string, kind: "text" | "json"): Data {
  return kind === "json" ? JSON.parse(text) : text;
}
