"""What an attachment is: by name, by declared type, by its own octets, and by what lies inside.  No I/O, no clock."""
