"""The parts of ``setup_env.py``, in the standard library alone: they run before any install."""
