"""The way of a message: stages, evidence, verdict, hand-over.  Knows no concrete check, adapter or front end."""
