/** Which options each verb knows. The compiler keeps these tables whole, and they serve those who have none. */

import type { AttachOptions } from "./attachment.js";
import type { PublishManyOptions, PublishOptions } from "./channel.js";
import type { ClaimOptions } from "./claim.js";
import type { HistoryOptions } from "./history.js";
import type { LeaseOptions } from "./lease.js";
import type { Known } from "./options.js";
import type { StartOptions } from "./starts.js";
import type { SubscribeOptions } from "./subscription.js";
import type { Retention } from "./summaries.js";
import type { MessageOptions } from "./writer.js";

const START: Known<StartOptions> = { after: 1, start: 1, last: 1, since: 1 };

export const SUBSCRIBE: Known<SubscribeOptions> = { ...START, cursor: 1, ack: 1, onResync: 1, windowBytes: 1, signal: 1 };
export const ATTACH: Known<AttachOptions> = { ...SUBSCRIBE, raw: 1, presence: 1 };
export const HISTORY: Known<HistoryOptions> = { ...START, before: 1, backwards: 1, limit: 1, raw: 1, signal: 1 };
export const PUBLISH_MANY: Known<PublishManyOptions> = { ifOffset: 1, lease: 1, signal: 1 };
export const PUBLISH: Known<PublishOptions> = { ...PUBLISH_MANY, name: 1, headers: 1, ttlMs: 1 };
export const MESSAGE: Known<MessageOptions> = { name: 1, headers: 1, data: 1, lease: 1 };
export const LEASE: Known<LeaseOptions> = { ttlMs: 1, wait: 1, takeOver: 1, timeoutMs: 1, signal: 1 };
export const CLAIM: Known<ClaimOptions> = { ttlMs: 1, wait: 1, timeoutMs: 1, signal: 1 };
export const RETENTION: Known<Retention> = { ageMs: 1, records: 1, bytes: 1, idleTtlMs: 1 };
