"""What `filterd doctor` looks at, one file per neighbourhood.  Needs no running daemon and changes nothing."""
