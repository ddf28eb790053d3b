"""Tests of outlast_protocol: a file for each module, and the vectors that every implementation reads."""
