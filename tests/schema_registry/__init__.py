"""One real schema registry for the tests."""
