"""A sweep or a list of runs as one page to read, and as the table of a paper.

    points ─ facts ─ results ─ comparing ─ plots ─ reading ─ page

Each module takes the points and gives plain values; the templates (``runner/templates``) give them words.
"""
