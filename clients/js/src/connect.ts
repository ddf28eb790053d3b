/** The beginning of a client: on its way to the broker while the most of it is still being loaded. */

import type { Client } from "./client.js";
import { ConnectFailed, Forbidden, OutlastError, Unauthorized } from "./errors.js";
import { type ConnectOptions, makeOptions, type Options } from "./options.js";
import { dialAhead } from "./transport.js";
import { unlessAborted, within } from "./waiting.js";

/**
 * Connects to a broker, and returns once it has answered.
 *
 * `url`: ws://, wss://, http:// or https:// (whose path is /v1/ws unless it says another), and on Node outlast://HOST[:PORT] or
 * outlast+unix:///PATH. Default: OUTLAST_URL, else where the page came from, else outlast://127.0.0.1:6180.
 * From then on the client comes back by itself, without an attempt limit. Throws ConnectFailed.
 */
export async function connect(url?: string, options: ConnectOptions = {}): Promise<Client> {
  const made = makeOptions(url, options);
  options.signal?.throwIfAborted();
  // A token has to be asked for first, and what is asked may take its time.
  const ahead = typeof made.token === "function" ? null : dialAhead(made.dial, made.url);
  let client: Client | undefined;
  try {
    await within(
      made.timeoutMs,
      options.signal,
      async (signal) => {
        const { Client } = await unlessAborted(import("./client.js").catch(unloaded), signal);
        client = new Client({ ...made, dial: ahead?.dial ?? made.dial });
        await client.ready(signal);
      },
      () => {
        throw failed(made, client?.failure ?? null);
      },
    );
  } catch (error) {
    ahead?.drop();
    await client?.close();
    throw error instanceof OutlastError ? failed(made, error) : error;
  }
  return client!;
}

function unloaded(cause: Error): never {
  throw Object.assign(new ConnectFailed(`the client could not be loaded: ${cause.message}`), { cause });
}

function failed({ url, timeoutMs }: Options, cause: OutlastError | null): OutlastError {
  if (cause instanceof Unauthorized || cause instanceof Forbidden) return cause;
  if (cause instanceof ConnectFailed && cause.cause) return cause;
  if (cause && !cause.retryable)
    return Object.assign(new ConnectFailed(`${url} refuses this client: ${cause.code}, ${cause.message}`), {
      retryable: false,
      cause,
    });
  return Object.assign(
    new ConnectFailed(`no connection to ${url} within ${timeoutMs} ms: ${cause?.message ?? "no answer"}`),
    { cause },
  );
}
