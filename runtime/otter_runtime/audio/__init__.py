"""Talking with the assistant: hear a phrase, ask or order over the bus, speak the answer.

A client of the bus like a robot, in a process of its own; no run knows of it. What needs PyAudio or
PocketSphinx imports it where it is used, so that the rest works without the extra `voice`.
"""
