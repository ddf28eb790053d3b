"""Tests of the Python client, one file per module; `fake_broker` is the other end, told what to say."""
