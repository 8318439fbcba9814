"""How fast popips is, as ratios to other programs in the same run: `python -m bench`. See __main__."""
