/** The core reads every vector, and says what PROTOCOL.md says. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  checkBatch,
  Connection,
  crc32,
  decode,
  encode,
  encodeBatch,
  epochOf,
  epochText,
  ERRORS,
  Float,
  makeRow,
  operationRow,
  pack,
  parsePosition,
  positionText,
  ProtocolError,
  readOperation,
  readRecords,
  spans,
  specNumbered,
  stamped,
  TABLE,
  unpack,
} from "../dist/protocol/index.js";
import { bytes, frameFromRow, fromRow, hex, load, specification, table } from "./vectors.js";

const { frames } = load("frames");
const { batches, runs } = load("batches");
const malformed = load("malformed");
const positions = load("positions");

/** A connection of the end that `from` talks to, in `state`. */
function receiver(from, state) {
  const connection = new Connection(from === "client" ? "broker" : "client");
  connection.state = state;
  return connection;
}

function stateFor(type) {
  return { HELLO: "connecting", WELCOME: "greeted" }[type] ?? "open";
}

const equalFrames = (got, expected) => assert.deepEqual({ ...got }, expected);

describe("frames.json", () => {
  for (const row of frames) {
    const frame = frameFromRow(row.type, row.fields);
    const data = bytes(row.hex);
    test(`${row.name}: decodes to its fields`, () => equalFrames(decode(specNumbered(data[4]), data), frame));
    test(`${row.name}: the fields encode to it`, () => {
      assert.equal(hex(encode(frame)) === row.hex, row.exact);
      equalFrames(decode(specNumbered(data[4]), encode(frame)), frame);
    });
    for (const from of row.from === "both" ? ["client", "broker"] : [row.from])
      test(`${row.name}: the ${from} may send it`, () => {
        const [got, ...more] = receiver(from, stateFor(row.type)).receive(data);
        equalFrames(got, frame);
        assert.deepEqual(more, []);
      });
  }
});

/** A record as the vectors write it. */
function recordRow(record) {
  const { offset, timeMs, clientId, name, headers, encoding, operation, ttlMs, data } = record;
  const row = {
    offset,
    time_ms: timeMs,
    client_id: clientId,
    name,
    headers,
    encoding,
    operation: operation && operationRow(operation),
    ttl_ms: ttlMs,
    data: hex(data),
  };
  return encoding ? { ...row, text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(data) } : row;
}

/** A row's record, with long numbers as they are here; its texts stay texts. */
function expectedRow(record) {
  const { offset, time_ms, operation, ttl_ms } = record;
  return {
    ...record,
    offset: fromRow(offset),
    time_ms: fromRow(time_ms),
    operation: fromRow(operation),
    ttl_ms: fromRow(ttl_ms),
  };
}

function rowFrom(record) {
  const { encoding, name, headers, operation, ttl_ms: ttlMs, data } = expectedRow(record);
  return makeRow({ encoding, name, headers, operation: operation && readOperation(operation), ttlMs }, bytes(data));
}

const recordsOf = (data) => readRecords(data).map(recordRow);

describe("batches.json", () => {
  for (const row of batches) {
    const expected = row.records.map(expectedRow);
    const { offset, time_ms: timeMs } = fromRow(row.stamp);
    test(`${row.name}: passes every check`, () => {
      assert.equal(checkBatch(bytes(row.published), row.client_id), row.records.length);
      assert.equal(hex(stamped(bytes(row.published), offset, timeMs)), row.stamped);
    });
    test(`${row.name}: holds its records`, () => assert.deepEqual(recordsOf(bytes(row.stamped)), expected));
    test(`${row.name}: the records encode to it`, () => {
      const encoded = encodeBatch(row.client_id, row.records.map(rowFrom));
      assert.equal(hex(encoded) === row.published, row.exact);
      assert.deepEqual(recordsOf(stamped(encoded, offset, timeMs)), expected);
    });
  }
  for (const row of runs)
    test(`${row.name}: a run holds the records of all its batches`, () => {
      assert.deepEqual(recordsOf(bytes(row.hex)), row.records.map(expectedRow));
      assert.deepEqual(
        [...spans(bytes(row.hex))].map((span) => [span.offset, span.last]),
        fromRow(row.spans),
      );
    });
});

describe("malformed.json", () => {
  for (const row of malformed.frames)
    for (const step of [1, 7, 1 << 20])
      test(`${row.name}, ${step} bytes at a time: ${row.error}`, () => {
        const connection = receiver(row.from, row.state);
        const data = bytes(row.hex);
        const got = [];
        for (let at = 0; at < data.length; at += step) got.push(...connection.receive(data.subarray(at, at + step)));
        if (row.fatal) {
          assert.deepEqual(got, []);
          assert.equal(connection.failure?.code, row.error);
          assert.ok(connection.failure.fatal || row.error === "bad_body");
        } else {
          assert.equal(connection.failure, null);
          assert.deepEqual(
            got.map(({ type, request, error }) => [type, request, error.code]),
            [["MALFORMED", row.request, row.error]],
          );
        }
      });
  for (const row of malformed.batches)
    test(`batch, ${row.name}: ${row.error}`, () => {
      const refused = (error) =>
        error instanceof ProtocolError && error.code === row.error && error.fatal === row.fatal;
      assert.throws(() => checkBatch(bytes(row.hex), row.client_id), refused);
    });
  for (const row of malformed.runs)
    test(`run, ${row.name}: ${row.error}`, () => {
      assert.throws(
        () => readRecords(bytes(row.hex)),
        (error) => error instanceof ProtocolError && error.code === row.error,
      );
    });
});

describe("positions.json", () => {
  for (const row of positions.good)
    test(row.text, () => {
      const { epoch, offset } = parsePosition(row.text);
      assert.equal(epochOf(epoch), BigInt(row.epoch));
      assert.equal(epochText(fromRow(row.epoch)), epoch);
      assert.equal(offset, fromRow(row.offset));
      assert.equal(positionText(epoch, offset), row.text);
    });
  for (const row of positions.bad) test(row.name, () => assert.throws(() => parsePosition(row.text), /is no position/));
});

describe("PROTOCOL.md", () => {
  test("the frame table is the code's", () => {
    const keys = new Map(table(specification, ["frame", "keys"]));
    const stated = table(specification, ["type", "frame", "from", "body", "max"]).map(
      ([number, type, from, body, max]) => [
        Number(number),
        type,
        from,
        Number(max),
        body,
        body.endsWith("map") ? keys.get(type) : "",
      ],
    );
    assert.deepEqual(TABLE, stated);
  });
  test("the error table is the code's", () => {
    const stated = table(specification, ["code", "name", "retryable", "fatal", "detail"]).map(
      ([code, name, retryable, fatal]) => [
        Number(code),
        name,
        (retryable === "yes" ? "r" : "") + (fatal === "yes" ? "f" : ""),
      ],
    );
    assert.deepEqual(ERRORS, stated);
  });
});

describe("msgpack", () => {
  const bounds = { items: 1024, keys: 4096 };
  const edges = [
    0,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2 ** 32 - 1,
    2 ** 32,
    Number.MAX_SAFE_INTEGER,
    2n ** 53n,
    2n ** 64n - 1n,
  ];
  const below = [
    -1,
    -32,
    -33,
    -128,
    -129,
    -32768,
    -32769,
    -(2 ** 31),
    -(2 ** 31) - 1,
    -Number.MAX_SAFE_INTEGER,
    -(2n ** 63n),
  ];
  for (const value of [...edges, ...below])
    test(`${value} comes back as it was`, () => assert.equal(unpack(pack(value), bounds), value));
  for (const size of [0, 1, 31, 32, 255, 256, 65535, 65536])
    test(`text and bytes of ${size}`, () => {
      assert.equal(unpack(pack("x".repeat(size)), bounds), "x".repeat(size));
      assert.deepEqual(unpack(pack(new Uint8Array(size)), bounds), new Uint8Array(size));
    });
  test("a float is kept apart from whole numbers", () => {
    assert.deepEqual(unpack(bytes("cb3ff0000000000000"), bounds), new Float(1));
    assert.deepEqual(unpack(bytes("ca3fc00000"), bounds), new Float(1.5));
  });
  test("a key may have any name", () => {
    const map = unpack(pack(JSON.parse('{"__proto__": 1, "constructor": 2}')), bounds);
    assert.deepEqual(Object.keys(map), ["__proto__", "constructor"]);
    assert.equal(Object.getPrototypeOf(map), Object.prototype);
  });
  test("what cannot be said is refused", () => {
    assert.throws(() => pack(1.5), TypeError);
    assert.throws(() => pack(() => 1), TypeError);
  });
});

test("CRC-32 of the standard check, at every alignment", () => {
  assert.equal(crc32(Buffer.from("123456789")), 0xcbf43926);
  assert.equal(crc32(new Uint8Array(0)), 0);
});
