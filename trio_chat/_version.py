"""The version of the program. That of the protocol is in `messages`.

Here, and not asked of the package's metadata: to read those takes a twentieth
of a start.
"""

__version__ = "0.1.0"
