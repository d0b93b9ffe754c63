"""Otter Edge above a LeRobot policy: what the policy is to do next, and when it must not move."""
