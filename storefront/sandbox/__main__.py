"""`python -m storefront.sandbox`: the sandbox on its own port; with a command, the command line."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="flexprice-sandbox")
