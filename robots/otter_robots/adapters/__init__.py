"""One folder per robot: what it needs, how it is wired and how it stops safely stand in its README.

A folder has `config.py` with a struct `Config`, `config.yaml` that overrides it, `README.md` and
`__main__.py`; its packages are the extra of its name. There is no list of adapters anywhere: a new
robot is a new folder and touches no other file.
"""
