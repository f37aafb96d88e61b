"""A sweep, or a list of runs, as a page to read and as the table of a paper.

    points ─ facts, results, comparisons, plots, answers ─ disagreements ─ page ─ write

``points`` reads the runs. The modules after it take points and return plain values. ``page`` renders these
with the templates in ``templates/``, and ``write`` writes the files. ``figures`` draws, also for tracking.
"""
