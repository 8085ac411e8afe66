"""One file per command of the command line: parse, call, print.  No decisions about mail here."""
