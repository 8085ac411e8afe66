"""The rules of learning: whose word counts, when a candidate may be promoted, when a model goes back.  Pure: no I/O, no clock."""
