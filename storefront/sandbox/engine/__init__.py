"""What Flexprice does: plain functions on typed rows, without HTTP."""
