"""A whole mail world on the loopback interface: stand-in Exchange, DNS and sample senders.  Not part of the daemon."""
