"""The pytest plugin: the `archcheck` fixture, and `pytest --archcheck`.

In: pytest's hooks. Out: test items and a fixture.
"""
