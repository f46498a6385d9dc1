"""The Pythons that the pinned set has wheels for; readable for Python 3.6, which is to be told."""

LOWEST, HIGHEST = (3, 11), (3, 13)


def python_fault(version):
    """Return what is wrong with a (major, minor) version and the remedy, or an empty string."""
    if LOWEST <= tuple(version) <= HIGHEST:
        return ""
    found, low, high = ("%d.%d" % tuple(pair) for pair in (version, LOWEST, HIGHEST))
    return "This is Python {0}, set-up needs {1} to {2}: run make PYTHON=python{2}, say.".format(
        found, low, high
    )
