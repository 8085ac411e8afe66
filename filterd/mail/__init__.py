"""Values and RFC grammar of a message on its way: no I/O, no clock, no logging."""
