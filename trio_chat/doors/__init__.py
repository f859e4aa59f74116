"""The ways in: a door turns a connection into requests and bytes."""
