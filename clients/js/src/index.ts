/** Outlast's client: publish, leave, come back, get exactly the rest. README.md and docs/javascript.md explain it. */

/// <reference lib="esnext.disposable" preserve="true" />

export type { AnswerOptions } from "./answers.js";
export type { Attachment, AttachOptions, MessageChanged, SessionEvent } from "./attachment.js";
export type { Channel, Cursor, PublishManyOptions, PublishOptions, RequestOptions } from "./channel.js";
export type { Claim, ClaimOptions, ClaimSummary } from "./claim.js";
export type { Client, RevokeOptions } from "./client.js";
export { connect } from "./connect.js";
export type { DeliveryOptions } from "./delivery.js";
export type { EphemeralMessage, Hearer as Ephemerals } from "./ephemeral.js";
export {
  BadChannelName, BadData, BufferFull, ClaimHeld, Closed, ConnectFailed, ConnectionLost, Damaged, type Detail, Fenced,
  Forbidden, ForeignMessage, GoingAway, LeaseHeld, LimitExceeded, MessageClosed, NotANumber, NotAnswered, NotDelivered, OffsetAhead,
  OffsetMismatch, OutlastError, Overloaded, RateLimited, ReadOnly, Refused, Resync, SequenceGap, StaleEpoch, TokenExpired, TooLarge, Trimmed,
  Unauthorized, UnknownChannel,
  UnknownCursor, UnknownMessage, VersionMismatch, Violation,
} from "./errors.js";
export type { Content, GrowingMessage } from "./growing.js";
export type { HistoryOptions } from "./history.js";
export type { Cancellation, Inbox, InboxOptions, Request } from "./inbox.js";
export type { Lease, LeaseInfo, LeaseOptions } from "./lease.js";
export type { Member, PresenceEvent } from "./members.js";
export { Message, type MessageParts } from "./message.js";
export type { ConnectOptions, LinkState, Page } from "./options.js";
export type { Ack } from "./outbox.js";
export type { Membership } from "./membership.js";
export type { Presence, PresenceWatch } from "./presence.js";
export type { MessageState, Operation } from "./protocol/operations.js";
export type { Whole } from "./protocol/words.js";
export type { ChannelRecord, Data, Headers } from "./records.js";
export type { StateChanged, StateEntry, StateSnapshot } from "./replica.js";
export type { Kind, Outcome, Reference, RequestFields } from "./requests.js";
export type { StartOptions, Where } from "./starts.js";
export type { Change, SharedState, WriteOptions } from "./state.js";
export type { StateWatch } from "./state-watch.js";
export type { SubscribeOptions, Subscription } from "./subscription.js";
export type { ChannelInfo, ChannelSummary, ConnectionInfo, Retention, Revocation, Status } from "./summaries.js";
export type { Dial, SocketLike, Transport, TransportEvents } from "./transport.js";
export type { Fence, MessageOptions, MessageRef, MessageWriter } from "./writer.js";
