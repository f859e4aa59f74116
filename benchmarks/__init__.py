"""This server and others, measured side by side: `nox -s bench`, or `python -m benchmarks`.

The load is that of `trio_chat.bench`; here are the other servers, what they are configured
with, how they are spoken to, and what is made of the figures.
"""
