/** The protocol core: bytes <-> meaning, without I/O. For those who write tools of their own; programs use `outlast`. */

export { type Label, readRecords, type Span, spans, type StoredRecord } from "./batch.js";
export { checkBatch, encodeBatch, makeRow, type Row, stamped } from "./batch-writer.js";
export { Connection, type State } from "./connection.js";
export { crc32 } from "./crc32.js";
export { ERRORS, ProtocolError } from "./errors.js";
export { decode, encode, type Frame, type Role, specNumbered, specOf, UNCONDITIONAL } from "./frames.js";
export { Float, pack, unpack } from "./msgpack.js";
export { type MessageState, type Operation, operationRow, readOperation, STATES } from "./operations.js";
export { epochOf, epochText, parsePosition, positionText } from "./position.js";
export { TABLE } from "./table.js";
export { type Bytes, type Whole, wholeFrom } from "./words.js";
