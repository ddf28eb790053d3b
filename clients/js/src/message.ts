import { checkWhole } from "./options.js";
import type { Headers } from "./protocol/batch.js";
import type { Data } from "./records.js";

/** One message for `publishMany`, where data alone does not say enough. */
export class Message {
  readonly data: Data;
  readonly name: string | null;
  readonly headers: Headers;
  /** As in `publish`. */
  readonly ttlMs: number;

  constructor(
    data: Data,
    { name = null, headers = {}, ttlMs = 0 }: { name?: string | null; headers?: Headers; ttlMs?: number } = {},
  ) {
    this.data = data;
    this.name = name;
    this.headers = headers;
    this.ttlMs = checkWhole("ttlMs", ttlMs, 0);
  }
}
