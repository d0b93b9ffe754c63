"""Otter Edge beside an autopilot: plans as status texts, declared missions, never a setpoint."""
