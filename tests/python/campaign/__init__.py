"""A campaign of faults against the installed package: `make campaign`, and in short `test_campaign.py`.

A row (`rows.py`) is a promise and a function of a number that tries to break it. `runner.py` gives numbers to
a worker process, which may die or hang: that is a finding like any other. The same number is the same try, so
whatever is found comes back with ``python -m campaign ROW --first NUMBER --tries 1``.
"""
