"""Field trials on disk: recorded while a run goes on, checked, repaired and read afterwards."""
