/** The vectors of the protocol, and their rows as this client has them (protocol/vectors/README.md). */

import { readFileSync } from "node:fs";
import { specOf, wholeFrom } from "../dist/protocol/index.js";

const FOLDER = new URL("../../../protocol/", import.meta.url);

export const specification = readFileSync(new URL("PROTOCOL.md", FOLDER), "utf8");

export function load(name) {
  return JSON.parse(readFileSync(new URL(`vectors/${name}.json`, FOLDER), "utf8"));
}

export const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
export const hex = (data) => Buffer.from(data).toString("hex");

/** A value of a row: long numbers are text of digits, bytes are {"bytes": hex}. */
export function fromRow(value) {
  if (typeof value === "string") return /^\d{16,20}$/.test(value) ? wholeFrom(value) : value;
  if (Array.isArray(value)) return value.map(fromRow);
  if (value === null || typeof value !== "object") return value;
  const keys = Object.keys(value);
  if (keys.length === 1 && keys[0] === "bytes") return bytes(value.bytes);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromRow(item)]));
}

export function frameFromRow(type, fields) {
  const frame = { type, ...fromRow(fields) };
  const { rest } = specOf(type);
  return rest ? { ...frame, [rest]: bytes(fields[rest]) } : frame;
}

/** The rows of the one table of a page that has this head. */
export function table(page, head) {
  const [, ...after] = page.split(`| ${head.join(" | ")} |\n`);
  if (after.length !== 1) throw new Error(`the page must have one table with the columns ${head}`);
  const lines = after[0].split("\n").slice(1);
  const end = lines.findIndex((line) => !line.startsWith("|"));
  return lines.slice(0, end).map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
}
