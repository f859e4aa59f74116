"""Hostile peers against real servers, with honest ones beside them that are measured.

`python -m tests.hostile` prints the table; `--write` makes docs/hostile.md of it.
"""
