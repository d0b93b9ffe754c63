"""Two runs held against each other: what changed, is it worse, and which do people prefer."""
