"""Checkpoint to verified bundle: graphs, quantization, parity. A workstation's half, with torch."""
