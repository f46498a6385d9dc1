"""Numbers per cell, in pixels and micrometres."""
