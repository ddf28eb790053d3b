"""Every bound of the protocol in one place (PROTOCOL.md section 9)."""

from __future__ import annotations

from collections.abc import Mapping

FRAME_BYTES_MAX = 1_048_576
CONTROL_FRAME_BYTES_MAX = 65_536
HELLO_BYTES_MAX = 16_384
# A batch and any frame's head around it fit into one frame, so whatever was accepted can be delivered.
BATCH_BYTES_MAX = FRAME_BYTES_MAX - 64
BATCH_RECORDS_MAX = 65_535
# Each is unpacked and checked by itself, by the broker and by every reader.
BATCH_LABELS_MAX = 1_024
CHANNEL_NAME_BYTES_MAX = 255
CLIENT_ID_BYTES_MAX = 128
RECORD_NAME_BYTES_MAX = 255
RECORD_HEADERS_MAX = 64
CREDIT_BYTES_MAX = 2**31 - 1
PUBLISHES_REMEMBERED = 64
PRODUCERS_REMEMBERED = 64
PAGE_RECORDS_MAX = 10_000
CHANNELS_MAX = 100_000
CURSOR_NAME_BYTES_MAX = 128
CURSORS_MAX = 1_000
AWAIT_MS_MAX = 3_600_000
AWAITS_MAX = 1_000
# A folded message fits into one batch, so whatever grew can be given whole.
MESSAGE_BYTES_MAX = 1_000_000
OPEN_MESSAGES_MAX = 256
REASON_BYTES_MAX = 4_096
STATE_KEYS_MAX = 1_000
STATE_KEY_BYTES_MAX = 255
STATE_VALUE_BYTES_MAX = 65_536
# All of it fits into one frame.
STATE_BYTES_MAX = 524_288
MEMBERS_MAX = 20_000
MEMBER_DATA_BYTES_MAX = 1_024
GRACE_MS_MAX = 60_000
LEASE_NAME_BYTES_MAX = 128
LEASES_MAX = 64
LEASE_MS_MAX = 3_600_000
CLAIM_KEY_BYTES_MAX = 255
CLAIMS_MAX = 10_000
CLAIM_MS_MAX = 3_600_000
CLAIM_RESULT_BYTES_MAX = 32_768


def stated() -> Mapping[str, int]:
    """The limits by the names that WELCOME gives them. What a frame may have is in the frame table."""
    named = {name.removesuffix("_MAX").lower(): value for name, value in globals().items() if name.isupper()}
    return {name: value for name, value in named.items() if name not in ("control_frame_bytes", "hello_bytes")}
