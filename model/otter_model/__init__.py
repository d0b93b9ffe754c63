"""The Otter network in PyTorch: the workstation's exact reference, never installed on a device."""
