"""A table of what became of all hostile cases, after the tests."""

from collections import Counter

import pytest

OUTCOMES = pytest.StashKey[Counter[tuple[str, str]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = Counter()


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> Counter[tuple[str, str]]:
    """How many cases there were, by kind and outcome."""
    return request.config.stash[OUTCOMES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = config.stash[OUTCOMES]
    if counts:
        terminalreporter.section(f"{counts.total()} hostile cases")
        for (kind, outcome), count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:5}  {kind:22} {outcome}")
