"""What may be chosen on the command line and in the engine; apart from both, as the engine needs torch."""

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")
SPLITS = ("val", "test")
