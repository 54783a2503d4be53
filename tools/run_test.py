"""Runs the test files that it is given: the main program of a py_test."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
