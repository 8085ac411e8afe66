"""DMARC aggregate reports: what is counted of messages, and how it is told to the owner of a domain.  RFC 9990."""
