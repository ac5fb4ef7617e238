"""Test files that compile the same shapes of the interior point run in one worker: two would compile each shape twice at the same time."""

WORKERS: dict[str, tuple[str, ...]] = {
    "interior point": (
        "tests/property/test_solver_random.py",
        "tests/property/test_engines_agree.py",
        "tests/unit/test_solver.py",
        "tests/unit/test_warm_start.py",
        "tests/unit/test_checkpoint.py",
        "tests/unit/test_precision.py",
    ),
}
