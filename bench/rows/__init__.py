"""The rows of the table, one module each; each has `measure(plan) -> lines`."""
