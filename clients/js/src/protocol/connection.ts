/** One end of a connection without any I/O: bytes in, frames out, and who may say what when (PROTOCOL.md 3). */

import { ProtocolError } from "./errors.js";
import { decode, encode, type Frame, HEADER_BYTES, type Role, type Spec, specNumbered, specOf } from "./frames.js";
import { BOTH_ENDS } from "./table.js";
import { type Bytes, joined, viewOf } from "./words.js";

export type State = "connecting" | "greeted" | "open" | "leaving" | "closed" | "failed";

/** What a frame does to the connection. One in no row is allowed while open or leaving, and changes nothing. */
const TRANSITIONS: Record<string, Partial<Record<State, State>>> = {
  HELLO: { connecting: "greeted" },
  WELCOME: { greeted: "open" },
  GOAWAY: { open: "leaving", leaving: "leaving" },
  ERROR: { connecting: "connecting", greeted: "greeted", open: "open", leaving: "leaving" },
};

/** Feed it bytes, take frames from it. After `failure` is set it reads no further. */
export class Connection {
  state: State = "connecting";
  failure: ProtocolError | null = null;
  readonly role: Role;
  // The beginning of a frame: pieces, and how many bytes they must be to be worth joining.
  #waiting: Bytes[] = [];
  #waitingBytes = 0;
  #need = HEADER_BYTES;

  constructor(role: Role) {
    this.role = role;
  }

  /** The frames that `data` completes. On a fatal error: those before it, and `failure` is set. */
  receive(data: Bytes): Frame[] {
    const frames: Frame[] = [];
    if (this.failure || this.state === "closed") return frames;
    this.#waiting.push(data);
    this.#waitingBytes += data.length;
    if (this.#waitingBytes < this.#need) return frames;
    const all = joined(this.#waiting);
    try {
      const rest = all.subarray(this.#split(all, frames));
      this.#waiting = rest.length ? [rest] : [];
      this.#waitingBytes = rest.length;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.failure = error;
      this.state = "failed";
    }
    return frames;
  }

  /** The bytes of `frame`, which must be ours to send in this state. */
  send(frame: Frame): Bytes {
    this.#check(specOf(frame.type), this.role);
    const data = encode(frame);
    this.#move(frame.type);
    return data;
  }

  close(): void {
    this.state = "closed";
  }

  /** Takes every whole frame of `data`; returns where the rest begins. */
  #split(data: Bytes, frames: Frame[]): number {
    const view = viewOf(data);
    let at = 0;
    this.#need = HEADER_BYTES;
    while (data.length - at >= HEADER_BYTES) {
      const spec = this.#examine(view, at);
      const length = view.getUint32(at, true);
      if (length > data.length - at) {
        this.#need = length;
        break;
      }
      frames.push(decode(spec, data.subarray(at, at + length)));
      at += length;
      this.#move(spec.type);
    }
    return at;
  }

  /** Every rule of PROTOCOL.md 3.1 and 3.3, as soon as a header is there. */
  #examine(view: DataView, at: number): Spec {
    const length = view.getUint32(at, true);
    const number = view.getUint8(at + 4);
    const spec = specNumbered(number);
    const reserved = view.getUint32(at + 4, true) >>> 8;
    if (reserved || !spec || length > spec.bytesMax || length < spec.bytesMin)
      throw this.#refusal(spec, number, length, reserved);
    this.#check(spec, this.role === "client" ? "broker" : "client");
    return spec;
  }

  #refusal(spec: Spec | undefined, number: number, length: number, reserved: number): ProtocolError {
    if (BOTH_ENDS && this.state === "connecting" && spec?.type !== "HELLO")
      return new ProtocolError("bad_magic", "the first frame is not HELLO");
    if (reserved) return new ProtocolError("bad_frame", "flags and reserved bytes of a header must be zero");
    if (!spec) return new ProtocolError("unknown_frame", `there is no frame 0x${number.toString(16)}`);
    if (length > spec.bytesMax)
      return new ProtocolError("frame_too_large", `${spec.type} of ${length} bytes, allowed are ${spec.bytesMax}`);
    return new ProtocolError("bad_frame", `${spec.type} cannot be ${length} bytes short`);
  }

  #check(spec: Spec, sender: Role): void {
    const row = TRANSITIONS[spec.type];
    const allowed = row ? this.state in row : this.state === "open" || this.state === "leaving";
    if (!allowed || (spec.from !== "both" && spec.from !== sender))
      throw new ProtocolError("unexpected_frame", `${spec.type} from the ${sender} is out of place while ${this.state}`);
  }

  #move(type: string): void {
    this.state = TRANSITIONS[type]?.[this.state] ?? this.state;
  }
}
