"""The proof: real servers and real clients, faults between them, and a count of what broke.

`python -m tests.proof` runs it; docs/proof.md says what it does.
"""
