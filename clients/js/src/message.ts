/** What `publishMany` takes where data alone does not say enough. */

import { checkOptions, checkWhole, type Known } from "./options.js";
import type { Headers } from "./protocol/batch.js";
import type { Data } from "./records.js";

export interface MessageParts {
  name?: string | null;
  headers?: Headers;
  /** As in `publish`. */
  ttlMs?: number;
}

const PARTS: Known<MessageParts> = { name: 1, headers: 1, ttlMs: 1 };

export class Message {
  readonly data: Data;
  readonly name: string | null;
  readonly headers: Headers;
  readonly ttlMs: number;

  constructor(data: Data, parts: MessageParts = {}) {
    const { name = null, headers = {}, ttlMs = 0 } = checkOptions("Message", parts, PARTS);
    this.data = data;
    this.name = name;
    this.headers = headers;
    this.ttlMs = checkWhole("ttlMs", ttlMs, 0);
  }
}

/** As options of `publish`. */
export function partsOf({ name, headers, ttlMs }: Message): MessageParts {
  return { name, headers, ttlMs };
}
