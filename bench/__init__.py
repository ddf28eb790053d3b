"""Measures Outlast on one machine, and peers beside it under the same load. `python -m bench --help`.

Reading order: plan, machine, server, lane, link, walk, gauge, systems/, scenarios/, runner, table, report.
"""
