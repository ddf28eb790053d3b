import type { Headers } from "./protocol/batch.js";
import type { Data } from "./records.js";

/** One message for `publishMany`, where data alone does not say enough. */
export class Message {
  readonly data: Data;
  readonly name: string | null;
  readonly headers: Headers;

  constructor(data: Data, { name = null, headers = {} }: { name?: string | null; headers?: Headers } = {}) {
    this.data = data;
    this.name = name;
    this.headers = headers;
  }
}
