"""The apps in apps/ have tests of their own: they are run in a copy, before and after the adoption."""

collect_ignore = ["apps"]
