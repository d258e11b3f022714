"""The control API, the console, the payment page, faults and test scenarios."""
