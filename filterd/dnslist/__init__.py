"""DNS block and allow lists (RFC 5782): how a zone is asked, and when it can be believed.  Must not know what a listing costs."""
