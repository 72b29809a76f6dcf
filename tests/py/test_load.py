"""The load test in small: a thousand connections for some seconds. `./run load` is the large one."""


def figures_of(done):
    lines = [line.removeprefix("figure: ") for line in done.stdout.splitlines() if line.startswith("figure: ")]
    return dict(line.split(" = ", 1) for line in lines)


def test_a_thousand_connections_are_held_and_cost_nothing_idle(run, build_dir):
    done = run(build_dir / "tests" / "load" / "iora-load", "hold", "--connections", 1000,
               "--seconds", 3, "--pause", 0.5, "--idle", 1)
    figures = figures_of(done)
    assert figures["connections"] == "1000"
    assert int(figures["messages"]) > 1000
    assert figures["messages that came back as others"] == "0"


def test_fast_peers_are_served_beside_slow_ones(run, build_dir):
    """How fast is for a machine that does nothing else: ./run load."""
    done = run(build_dir / "tests" / "load" / "iora-load", "slow", "--slow", 500, "--fast", 10,
               "--window", 0.05, "--rounds", 10, "--share", 1)
    assert done.stdout.endswith("1 passed, 0 failed\n")


def test_wrong_usage_of_the_load_is_told_with_status_2(run, build_dir):
    for words in ["--dance"], ["--seconds"], ["--seconds", "x"], ["--rounds", "0"], ["many"]:
        done = run(build_dir / "tests" / "load" / "iora-load", *words, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage:")
