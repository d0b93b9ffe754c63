"""Otter Edge in a gymnasium environment: it pushes what it sees, asks, and does what passes."""
