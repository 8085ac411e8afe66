"""Reports by mail: what a report mail says and holds, and the answer to it.  No I/O, no clock, no decision about mail."""
