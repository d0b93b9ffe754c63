"""Tuning: the data, the training and the small `pocket` Otter. Workstation only; never imported on
a device."""
