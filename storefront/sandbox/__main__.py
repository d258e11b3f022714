"""`python -m storefront.sandbox`: the sandbox on its own port."""

from ._previous.__main__ import main

if __name__ == "__main__":
    main()
