"""How much and how fast, as plain integers that the hot path adds to; and how Prometheus is told of it.

Reading order: counters, histogram, measures, lag; metrics.
"""
