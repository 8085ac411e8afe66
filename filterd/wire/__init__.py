"""Bytes in, events out: protocol codecs without sockets, clocks or logging."""
