"""A search for the numbers of the post-processing list that score best, and what the gain is worth.

`space` says which numbers there are, `search` proposes the next ones to try, `scorer` scores them,
`tune` puts the three together, `files` is for the command line.
"""
