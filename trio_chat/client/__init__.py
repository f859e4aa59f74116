"""The client: the library, the person at a terminal, and what both show."""
