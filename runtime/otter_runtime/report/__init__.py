"""The report of a trial: what ran, what it said, how quickly, what went wrong, in one page."""
