"""A self-hosted team chat whose messages arrive exactly once, in one order."""
