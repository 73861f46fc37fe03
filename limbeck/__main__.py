"""`python -m limbeck` and `accelerate launch -m limbeck`."""

from limbeck.cli import main

if __name__ == "__main__":
    main()
