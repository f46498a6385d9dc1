"""Self-contained HTML pages: the report on a run, the page on a data set."""
