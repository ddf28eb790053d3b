/** Waiting until a reader has done with a message: AWAIT, over as many connections as that takes. */

import { NotDelivered } from "./errors.js";
import type { Link } from "./link.js";
import { checkName, CURSOR_NAME_BYTES_MAX } from "./options.js";
import { readWhere, type Where } from "./starts.js";
import { within } from "./waiting.js";

const AWAIT_MS_MAX = 3_600_000;
// The broker says where the cursor stands when the time is up; without a broker nobody does.
const GRACE_MS = 1_000;

export interface DeliveryOptions {
  cursor: string;
  /** 30 s by default; null: for ever. */
  timeoutMs?: number | null;
  signal?: AbortSignal;
}

/** Returns when the cursor stands at `where` or beyond, on disk. Throws NotDelivered, UnknownChannel, StaleEpoch, OffsetAhead. */
export async function waitFor(link: Link, channel: string, where: Where, options: DeliveryOptions): Promise<void> {
  const { offset, epoch } = readWhere("offset", where);
  const { timeoutMs = 30_000, signal } = options;
  const cursor = checkName("cursor", options.cursor, CURSOR_NAME_BYTES_MAX);
  const deadlineMs = performance.now() + (timeoutMs ?? Infinity);
  const leftMs = () => Math.ceil(Math.min(Math.max(deadlineMs - performance.now(), 0), AWAIT_MS_MAX));
  await within(
    timeoutMs === null ? null : timeoutMs + GRACE_MS,
    signal,
    async (patience) => {
      for (let meant = epoch; ;) {
        meant ??= (await link.findChannel(channel, false, patience)).epoch;
        try {
          await link.callIn(channel, "AWAIT", () => ({ cursor, offset, timeout_ms: leftMs() }), {
            epoch: meant,
            signal: patience,
          });
          return;
        } catch (error) {
          if (!(error instanceof NotDelivered) || performance.now() >= deadlineMs) throw error;
        }
      }
    },
    () => {
      throw new NotDelivered(`cursor "${cursor}" was not seen at ${offset} within ${timeoutMs} ms: no connection`);
    },
  );
}
