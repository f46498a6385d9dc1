"""Charts: inline SVG for pages, and curves of trainings as pictures."""
