"""The version of the program. That of the protocol is in `messages`.

Here, and not asked of the package's metadata: to read those takes 30 ms at each start.
"""

__version__ = "0.1.0"
