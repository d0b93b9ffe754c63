"""What is wrong with this machine, and what helps: each file is one part of it.

Checks take a `Host`, whose root a test replaces, and give findings; none of them changes anything.
"""
