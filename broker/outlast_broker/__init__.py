"""The Outlast broker.

Reading order: channel, engine, settling, committer, log, lmdb_log; then subscription, feeder, connection; then server.
"""

from __future__ import annotations

__version__ = "0.1.0"
