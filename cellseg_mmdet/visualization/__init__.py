"""Pictures (`draw`), charts (`charts`) and pages (`pages`): what was annotated, what training sees, what was found.

Runs without torch; what pictures need of a model is in `inference`.
"""
