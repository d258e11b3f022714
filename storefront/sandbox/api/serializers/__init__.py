"""Rows as Flexprice shows them. What is empty is left out or written as `""`, null or `{}`, as observed."""
