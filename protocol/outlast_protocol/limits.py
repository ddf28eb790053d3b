"""Every bound of the protocol in one place (PROTOCOL.md section 9)."""

from __future__ import annotations

FRAME_BYTES_MAX = 1_048_576
CONTROL_FRAME_BYTES_MAX = 65_536
HELLO_BYTES_MAX = 16_384
# A batch and any frame's head around it fit into one frame, so whatever was accepted can be delivered.
BATCH_BYTES_MAX = FRAME_BYTES_MAX - 64
BATCH_RECORDS_MAX = 65_535
CHANNEL_NAME_BYTES_MAX = 255
CLIENT_ID_BYTES_MAX = 128
RECORD_NAME_BYTES_MAX = 255
RECORD_HEADERS_MAX = 64
CREDIT_BYTES_MAX = 2**31 - 1
PUBLISHES_REMEMBERED = 64
PRODUCERS_REMEMBERED = 64
PAGE_RECORDS_MAX = 10_000
CHANNELS_MAX = 100_000
