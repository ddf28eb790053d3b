/** One growing message, fetched by its id. */

import { Violation } from "./errors.js";
import { Assembly, type GrowingMessage } from "./growing.js";
import type { Link } from "./link.js";
import { readRun } from "./records.js";

/** A growing message as it stands (PROTOCOL.md 6.10). Throws UnknownMessage, UnknownChannel, StaleEpoch. */
export async function fetchMessage(
  link: Link,
  name: string,
  message: number,
  epoch?: string,
  signal?: AbortSignal,
): Promise<GrowingMessage> {
  const [page, life] = await link.callIn(name, "MESSAGE", { message }, { epoch, signal });
  for (const record of readRun(page["batches"], life.epoch)) {
    const change = new Assembly().feed(record);
    if (change?.message.id === message) return change.message;
  }
  throw new Violation(`asked for message ${message}, got a page without it`);
}
