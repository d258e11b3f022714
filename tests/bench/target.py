"""`tests.bench.target:app`: whatever BENCH_TARGET names in `floors` or `shops`."""

import os
from importlib import import_module

_module, _name = os.environ["BENCH_TARGET"].split(":")
app = getattr(import_module(f"tests.bench.{_module}"), _name)()
