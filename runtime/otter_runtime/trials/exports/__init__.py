"""Recorded trials in the formats of other people's tools, one module each."""
