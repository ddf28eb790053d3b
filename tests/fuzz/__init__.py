"""Hostile bytes: whatever arrives, the only answers are frames, Malformed and ProtocolError."""
