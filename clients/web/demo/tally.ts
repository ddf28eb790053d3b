/** What this tab saw of the channel: how many records, whether in dense order, and a checksum of them all. */

import type { Data } from "outlast";

/** As the demo's other readers count. `gaps` are records that are missing, `repeats` those that came again. */
export interface Account {
  readonly records: number;
  readonly gaps: number;
  readonly repeats: number;
  readonly sha256: string;
}

const utf8 = new TextEncoder();

export class Tally {
  records = 0;
  gaps = 0;
  repeats = 0;
  last = 0;
  #bytes = new Uint8Array(1 << 16);
  #length = 0;

  add(offset: number, data: Data): void {
    this.records++;
    this.gaps += Math.max(offset - this.last - 1, 0);
    this.repeats += Number(offset <= this.last);
    this.last = Math.max(offset, this.last);
    this.#keep(dataBytes(data));
  }

  #keep(data: Uint8Array): void {
    const length = this.#length + data.length;
    if (length > this.#bytes.length) {
      const more = new Uint8Array(Math.max(length, this.#bytes.length * 2));
      more.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = more;
    }
    this.#bytes.set(data, this.#length);
    this.#length = length;
  }

  /** Of everything so far; browsers digest only what lies in one piece. */
  async account(): Promise<Account> {
    const { records, gaps, repeats } = this;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", this.#bytes.slice(0, this.#length)));
    const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return { records, gaps, repeats, sha256 };
  }
}

/** The same bytes for the same data as at the other end, which is in Python: JSON has sorted keys and ASCII alone. */
export function dataBytes(data: Data): Uint8Array {
  if (data instanceof Uint8Array) return data;
  return utf8.encode(typeof data === "string" ? data : ascii(JSON.stringify(data, sorted)));
}

function sorted(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
}

function ascii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
