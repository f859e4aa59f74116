"""The load tester: many members in one task, who check everything that they are sent.

It speaks to a server as anybody else does, over plain sockets, and knows nothing of the
server's side. What differs between kinds of servers is a `Dialect`; ours is `json_lines`.
"""
