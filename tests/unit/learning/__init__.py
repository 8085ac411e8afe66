"""Owns the tests of the rules of learning."""
